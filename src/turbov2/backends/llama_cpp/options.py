"""What the models file may say of a GGUF model, and what llama.cpp is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import xllamacpp

from turbov2.backends.llama_server.sampling import SamplingOptions
from turbov2.cores import n_cores

# Between two batches of a prompt it is seen whether anybody still waits. On a CPU small ones cost nothing;
# all of an image's tokens must fit into one where the model reads an image both ways.
_TEXT_BATCH, _IMAGE_BATCH = 64, 512
# A slot is taken for a prompt, half of which it has read. Else the one that was idle longest: a system prompt
# that two conversations share is no reason to forget one of them.
_SIMILARITY = 0.5


class LlamaCppOptions(SamplingOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold beside that."""

    n_batch: Annotated[int, msgspec.Meta(ge=1)] | None = None  # tokens of a prompt read at once
    n_gpu_layers: Annotated[int, msgspec.Meta(ge=0)] = 0  # needs a build of xllamacpp for the GPU


def loading_params(
    model: Path, projector: Path | None, n_context: int, n_slots: int, options: LlamaCppOptions
) -> xllamacpp.CommonParams:
    """Returns what llama.cpp is to load, and how. n_context: tokens of each slot."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    if projector is not None:
        params.mmproj.path = str(projector)
    # Each slot has a context of its own. Sharing one would take less memory, and break an answer off in its
    # middle when others have filled it.
    params.n_ctx, params.n_parallel, params.kv_unified = n_context * n_slots, n_slots, False
    params.slot_prompt_similarity = _SIMILARITY
    params.n_batch = params.n_ubatch = options.n_batch or (_TEXT_BATCH if projector is None else _IMAGE_BATCH)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.n_threads or n_cores()
    params.n_gpu_layers, params.mmproj_use_gpu = options.n_gpu_layers, options.n_gpu_layers > 0
    params.fit_params = False  # else what does not fit is made smaller without a word
    params.cache_ram_mib = params.n_ctx_checkpoints = 0  # else gigabytes of former conversations
    # Else llama.cpp reads the file's own, which it may not know. This one counts the tokens of our prompts.
    params.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    params.n_threads_http = n_slots + 2  # answers, what is tokenized meanwhile, and who comes next
    params.ui, params.endpoint_slots, params.offline = False, False, True
    params.verbosity = 1  # errors
    return params
