"""LlamaCppBackend: a model in GGUF, with or without a projector, several answers at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turbov2.backends.constraints import grammar_of
from turbov2.backends.detokenizer import StopTexts
from turbov2.backends.gguf import model_file, n_context, n_slots, projector_file, read_entries
from turbov2.backends.llama_cpp.options import LlamaCppOptions, loading_params
from turbov2.backends.llama_cpp.server import LlamaServer
from turbov2.backends.llama_server.client import Refused
from turbov2.backends.llama_server.prompts import Prompts, read_template
from turbov2.backends.llama_server.sampling import sampling_fields
from turbov2.backends.llama_server.writing import Writing
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.types import Finish, GenerateTask, ImageNeed, Loaded, LoadSpec, Written

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

# `general.file_type` as llama.cpp's `llama_ftype` numbers it.
_DTYPES = {0: "float32", 1: "float16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k"} | {
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m",
    18: "q6_k", 32: "bfloat16",
}  # fmt: skip


class LlamaCppBackend:
    """Implements Generator with the template and the vocabulary that the file carries."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self._options = read_options(spec, LlamaCppOptions)
        path, projector = model_file(spec.files), projector_file(spec.files)
        entries = dict(read_entries(path))
        template = read_template(entries)  # first, for it is soon read
        self._n_context = n_context(entries, spec.max_tokens)
        slots = n_slots(entries, self._n_context, self._options.n_slots)
        self._server = LlamaServer(loading_params(path, projector, self._n_context, slots, self._options))
        self._prompts = Prompts(template, entries, self._server.client)
        self.loaded = Loaded(
            capabilities=("generate",) if projector is None else ("vision",),
            dtype=_DTYPES.get(entries.get("general.file_type", -1), "gguf"),
            max_tokens=self._n_context,
            n_vocabulary=len(entries.get("tokenizer.ggml.tokens", [])) or None,
            image=None if projector is None else ImageNeed(),
            reply=template.reply,
            n_slots=slots,
        )

        thinking = (template.reply.thinking,) if template.reply.thinking else ()
        tags = (*thinking, *template.reply.calls)
        self._marks = [mark for each in tags for mark in (each.begin, each.end) if mark]

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended; see Generator.

        Its prompt and itself share the model's context: a longer answer ends there, with the reason "length".
        A cancel is seen after each token and each batch of the prompt, and when `end_cancelled` tells of it.
        """
        prompt, begun = self._prompts.encode(task, images)
        writing = Writing(begun, StopTexts(task.sampling.stop), on_written, is_cancelled)
        request = {"prompt": prompt, "return_progress": True, **sampling_fields(task.sampling, self._options)}
        request["preserved_tokens"] = self._marks  # else llama.cpp leaves those out that are control tokens
        if grammar := grammar_of(task, self.loaded.reply, begun, self._prompts.control_tokens):
            request["grammar"] = grammar
        try:
            with contextlib.closing(self._server.client.complete(request, is_cancelled)) as pieces:
                for piece in pieces:
                    if writing.take(piece):
                        break
        except Refused as refused:
            if refused.problem.type != "exceed_context_size_error":
                raise
            raise too_long(refused.problem.n_prompt_tokens, self._n_context) from refused
        return writing.finish()

    def end_cancelled(self) -> None:
        """Afterwards cancelled answers have ended; llama.cpp lets go of them when their batch has."""
        self._server.client.end_cancelled()

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Generator."""
        return self._prompts.count(self._prompts.encode(task, images).prompt)

    def free_caches(self) -> None:
        """Nothing is kept for reuse but the context's own cache."""

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._server.close()
