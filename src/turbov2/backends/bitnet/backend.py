"""BitnetBackend: a model in GGUF that only bitnet.cpp reads, several answers at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from turbov2.backends.bitnet.schemas import schema_of
from turbov2.backends.bitnet.server import BitnetServer
from turbov2.backends.bitnet.templates import template_of
from turbov2.backends.detokenizer import StopTexts
from turbov2.backends.gguf import model_file, n_context, n_slots, read_entries
from turbov2.backends.llama_server.client import Refused
from turbov2.backends.llama_server.prompts import Prompts
from turbov2.backends.llama_server.sampling import SamplingOptions, sampling_fields
from turbov2.backends.llama_server.writing import Writing
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.registry import program_of
from turbov2.cores import n_cores
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.types import Finish, GenerateTask, Loaded, LoadSpec, PromptCounted, Written

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_DTYPES = {38: "tl1", 39: "tl2", 40: "i2_s"}  # `general.file_type` as bitnet.cpp numbers its own


class BitnetOptions(SamplingOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold beside that."""

    path: str = ""  # a built bitnet.cpp: its folder, or its llama-server


class BitnetBackend:
    """Implements Generator with the vocabulary that the file carries."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self._options = read_options(spec, BitnetOptions)
        path = model_file(spec.files)
        entries = dict(read_entries(path))
        template = template_of(entries)
        self._n_context = n_context(entries, spec.max_tokens)
        slots = n_slots(entries, self._n_context, self._options.n_slots)
        program = program_of(spec.backend, spec.options)
        if program is None:
            raise LoadFailed("there is no llama-server where BITNET_PATH, or the option 'path', says")
        threads = str(self._options.n_threads or n_cores())
        # Each slot has its share of the context for itself.
        sizes = ["-c", str(self._n_context * slots), "-np", str(slots), "-t", threads]
        self._server = BitnetServer(str(program), ["-m", str(path), *sizes, "-ngl", "0"])
        self._prompts = Prompts(template, entries, self._server.client)
        self.loaded = Loaded(
            capabilities=("generate",),
            dtype=_DTYPES.get(entries.get("general.file_type", -1), "gguf"),
            max_tokens=self._n_context,
            n_vocabulary=len(entries.get("tokenizer.ggml.tokens", [])) or None,
            reply=template.reply,
            n_slots=slots,
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
        A cancel is seen at once; a prompt that is being read then is read to its end by older servers.
        """
        with self._server.asked():
            prompt, begun = self._prompts.encode(task, images)
            n_prompt = self._prompts.count(prompt)
        n_tokens = min(task.sampling.max_tokens, self._n_context - n_prompt)
        if n_tokens < 1:  # older servers would leave the middle of the prompt out
            raise too_long(n_prompt, self._n_context)
        on_written(PromptCounted(n_prompt))
        writing = Writing(begun, StopTexts(task.sampling.stop), on_written, is_cancelled)
        request = {"prompt": prompt, **sampling_fields(task.sampling, self._options), "n_predict": n_tokens}
        if (schema := schema_of(task)) is not None:
            request["json_schema"] = schema
        self._write(request, writing)
        return replace(writing.finish(), n_prompt_tokens=n_prompt)

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Generator."""
        with self._server.asked():
            return self._prompts.count(self._prompts.encode(task, images).prompt)

    def free_caches(self) -> None:
        """Nothing is kept for reuse but the context's own cache."""

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._server.close()

    def _write(self, request: dict[str, Any], writing: Writing) -> None:
        """Afterwards `writing` was told an answer. Raises: InvalidRequest; InferenceFailed."""
        pieces = self._server.client.complete(request)
        try:
            with self._server.asked(), contextlib.closing(pieces):
                if not any(map(writing.take, pieces)):
                    raise ConnectionError
        except Refused as refused:
            if "json_schema" not in request:
                raise
            raise InvalidRequest(
                "bitnet.cpp cannot hold answers to this JSON schema; a simpler one may do", param="schema"
            ) from refused
