"""VllmBackend: a causal language model in vLLM, many answers at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbov2.backends.constraints import grammar_of
from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.registry import program_of
from turbov2.backends.token_prompts import Encoded
from turbov2.backends.vllm.checkpoint import folder_of, n_context, read_prompts
from turbov2.backends.vllm.devices import environment_of
from turbov2.backends.vllm.options import MODEL, VllmOptions, arguments, sampling_fields
from turbov2.backends.vllm.server import Refused, VllmServer
from turbov2.backends.vllm.writing import Writing
from turbov2.errors import InferenceFailed, InvalidRequest, LoadFailed
from turbov2.types import Finish, GenerateTask, Loaded, LoadSpec, PromptCounted, Written

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

logger = logging.getLogger(__name__)


class VllmBackend:
    """Implements Generator with the tokenizer and the template that lie beside the weights."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self._options = read_options(spec, VllmOptions)
        self._prompts = read_prompts(spec)
        self._n_context = n_context(spec, self._options.max_model_len)
        python = program_of(spec.backend, spec.options)
        if python is None:
            raise LoadFailed("there is no Python where TURBOV2_VLLM_PYTHON, or the option 'python', says")
        folder = folder_of(spec)

        def arguments_for(socket: Path) -> list[str]:
            return arguments(folder, self._n_context, socket, self._options)

        self._server = VllmServer(python, arguments_for, environment_of(spec.device, self._options))
        self.loaded = Loaded(
            capabilities=("generate",),
            dtype=self._options.quantization or self._options.dtype,
            max_tokens=self._n_context,
            reply=self._prompts.reply,
            n_slots=self._options.max_num_seqs,
        )

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended; see Generator.

        Its prompt and itself share the model's context: a longer answer ends there, with the reason "length".
        """
        prompt = self._prompts.encode(task)
        n_prompt = len(prompt.ids)
        n_tokens = min(task.sampling.max_tokens, self._n_context - n_prompt)
        if n_tokens < 1:
            raise too_long(n_prompt, self._n_context)
        on_written(PromptCounted(n_prompt))
        detokenizer, stops = Detokenizer(self._prompts.tokenizer.decode), StopTexts(task.sampling.stop)
        writing = Writing(detokenizer, stops, on_written, is_cancelled, prompt.begun)
        self._write(self._request(task, prompt, n_tokens), writing)
        return writing.finish(n_prompt)

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Generator."""
        return len(self._prompts.encode(task).ids)

    def free_caches(self) -> None:
        """Nothing is kept for reuse but vLLM's own cache, which it has for good."""

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._server.close()

    def _request(self, task: GenerateTask, prompt: Encoded, n_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {"model": MODEL, "prompt": prompt.ids, "max_tokens": n_tokens}
        request |= sampling_fields(task.sampling, self._options)
        request |= {"stream": True, "stream_options": {"include_usage": True}, "return_token_ids": True}
        marks = {mark: f"<[{token_id}]>" for mark, token_id in self._prompts.tokenizer.mark_ids.items()}
        if grammar := grammar_of(task, self.loaded.reply, prompt.begun, marks):
            request["structured_outputs"] = {"grammar": grammar}
        return request

    def _write(self, request: dict[str, Any], writing: Writing) -> None:
        """Afterwards `writing` was told an answer. Raises: InvalidRequest; InferenceFailed."""
        chunks = self._server.complete(request)
        try:
            with self._server.asked(), contextlib.closing(chunks):
                any(map(writing.take, chunks))
                if not writing.has_ended:
                    raise ConnectionError
        except Refused as refused:
            logger.warning("vLLM refuses a request: %s", str(refused)[:500])
            if "structured_outputs" in request:
                raise InvalidRequest(
                    "answers cannot be held to these schemas together: make them fewer or simpler",
                    param="schema",
                ) from refused
            raise InferenceFailed("vLLM refused this input; the server's log says why") from refused
