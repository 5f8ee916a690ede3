"""LlamaCppBackend: a model in GGUF, with or without a projector, one answer at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import xllamacpp

from turbov2.backends.detokenizer import StopTexts
from turbov2.backends.gguf import model_file, n_context, projector_file, read_entries
from turbov2.backends.llama_cpp.prompts import Prompts, read_template
from turbov2.backends.llama_cpp.server import LlamaServer, Refused
from turbov2.backends.llama_cpp.writing import Writing
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.types import Finish, GenerateTask, ImageNeed, Loaded, LoadSpec, Sampling

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
# Between two batches of a prompt it is seen whether anybody still waits. On a CPU small ones cost nothing;
# all of an image's tokens must fit into one where the model reads an image both ways.
_TEXT_BATCH, _IMAGE_BATCH = 64, 512
# `general.file_type` as llama.cpp's `llama_ftype` numbers it.
_DTYPES = {0: "float32", 1: "float16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k"} | {
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m",
    18: "q6_k", 32: "bfloat16",
}  # fmt: skip
_PARAMETERS = {
    "temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}  # fmt: skip
_RANDOM_SEED = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED, which means chance


class LlamaCppOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold: how to compute, and to sample where a request does not say.

    None of a way to sample: as the file's `general.sampling.*` says, else llama.cpp's own.
    """

    n_threads: Annotated[int, msgspec.Meta(ge=1)] | None = None  # None: all cores
    n_batch: Annotated[int, msgspec.Meta(ge=1)] | None = None  # tokens of a prompt read at once
    n_gpu_layers: Annotated[int, msgspec.Meta(ge=0)] = 0  # needs a build of xllamacpp for the GPU
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_p: _Fraction | None = None
    min_p: _Fraction | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None


class LlamaCppBackend:
    """Implements Generator with the template and the vocabulary that the file carries."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self._options = read_options(spec, LlamaCppOptions)
        path, projector = model_file(spec.files), projector_file(spec.files)
        entries = dict(read_entries(path))
        template = read_template(entries)  # first, for it is soon read
        self._n_context = n_context(entries, spec.max_tokens)
        self._server = LlamaServer(_params(path, projector, self._n_context, self._options))
        self._prompts = Prompts(template, entries, self._server)
        self.loaded = Loaded(
            capabilities=("generate",) if projector is None else ("vision",),
            dtype=_DTYPES.get(entries.get("general.file_type", -1), "gguf"),
            max_tokens=self._n_context,
            n_vocabulary=len(entries.get("tokenizer.ggml.tokens", [])) or None,
            image=None if projector is None else ImageNeed(),
        )

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_text: Callable[[str], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended; see Generator.

        Its prompt and itself share the model's context: a longer answer ends there, with the reason "length".
        A cancel is seen after each token and each batch of the prompt, not while an image is encoded.
        """
        writing = Writing(StopTexts(task.sampling.stop), on_text, is_cancelled)
        request = {"prompt": self._prompts.encode(task, images), **self._parameters(task.sampling)}
        try:
            with contextlib.closing(self._server.complete(request)) as pieces:
                for piece in pieces:
                    if writing.take(piece):
                        break
        except Refused as refused:
            if refused.problem.type != "exceed_context_size_error":
                raise
            raise too_long(refused.problem.n_prompt_tokens, self._n_context) from refused
        return writing.finish()

    def free_caches(self) -> None:
        """Nothing is kept for reuse but the context's own cache."""

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._server.close()

    def _parameters(self, sampling: Sampling) -> dict[str, Any]:
        """Returns the request's way to sample, else the options'; else llama.cpp takes the file's."""
        asked = {name: getattr(sampling, name) for name in _PARAMETERS}
        chosen = {
            name: getattr(self._options, name) if value is None else value for name, value in asked.items()
        }
        parameters = {_PARAMETERS[name]: value for name, value in chosen.items() if value is not None}
        if sampling.seed is not None:
            parameters["seed"] = sampling.seed % _RANDOM_SEED
        return parameters | {
            "n_predict": sampling.max_tokens,
            "return_progress": True,
            # What the last prompt began with is not read again. A seed asks for an answer that repeats, and
            # what was read in other batches differs in its last bits.
            "cache_prompt": sampling.seed is None,
        }


def _params(
    model: Path, projector: Path | None, n_context: int, options: LlamaCppOptions
) -> xllamacpp.CommonParams:
    """Returns what llama.cpp is to load, and how."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    if projector is not None:
        params.mmproj.path = str(projector)
    params.n_ctx, params.n_parallel = n_context, 1
    params.n_batch = params.n_ubatch = options.n_batch or (_TEXT_BATCH if projector is None else _IMAGE_BATCH)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.n_threads or _n_cores()
    params.n_gpu_layers, params.mmproj_use_gpu = options.n_gpu_layers, options.n_gpu_layers > 0
    params.fit_params = False  # else what does not fit is made smaller without a word
    params.cache_ram_mib = params.n_ctx_checkpoints = 0  # else gigabytes of former conversations
    params.chat_template = "{{ messages }}"  # else llama.cpp reads the file's own, which it may not know
    params.n_threads_http, params.ui, params.endpoint_slots, params.offline = 2, False, False, True
    params.verbosity = 1  # errors
    return params


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
