"""The chunks of an answer as pieces of ours, and how it ended. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.errors import RemoteFailed
from turbov2.runners.remote.faults import Faults
from turbov2.types import Finish, FinishReason, Piece, TextDelta, ThinkingDelta, ToolCallPart

_CHARS_A_TOKEN = 64  # more than any vocabulary's on average: beyond it the server ignores `max_tokens`
_SPARE_CHARS = 65_536
_MAX_CALLS = 128
_MAX_COUNT = 1 << 31


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None  # of /completions
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM's: the stop text, or a token's id


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Held:
    """A call that is not whole yet."""

    def __init__(self) -> None:
        self.name = ""
        self.arguments: list[str] = []


_CHUNK = msgspec.json.Decoder(_Chunk)


class ChunkReader:
    """Reads one answer of at most `max_tokens` tokens."""

    def __init__(self, faults: Faults, max_tokens: int) -> None:
        self._faults = faults
        self._n_chars_left = _CHARS_A_TOKEN * max_tokens + _SPARE_CHARS
        self._calls: dict[int, _Held] = {}
        self._usage = _Usage()
        self._reason: str | None = None
        self._stopped_by: str | None = None

    def read(self, event: bytes) -> list[Piece]:
        """Returns the pieces of the next chunk; calls are told at the end, when they are whole.

        Raises: RemoteFailed for what is no chunk; what the server says went wrong.
        """
        try:
            chunk = _CHUNK.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RemoteFailed(f"{self._faults.who} sent what is no chunk") from None
        if chunk.error is not None:
            raise self._faults.in_stream(chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        return [piece for choice in chunk.choices or () if not choice.index for piece in self._choice(choice)]

    def end(self) -> tuple[list[Piece], Finish]:
        """Returns the calls, and how the answer ended. Raises: RemoteFailed for one that broke off."""
        if self._reason is None:
            raise RemoteFailed(f"{self._faults.who} broke off before the answer's end")
        is_cut = self._reason == "length"
        calls: list[Piece] = [
            ToolCallPart("", held.name, "".join(held.arguments))
            for _, held in sorted(self._calls.items())
            if not is_cut or _is_whole("".join(held.arguments))
        ]
        usage, details = self._usage, self._usage.prompt_tokens_details or _Details()
        reason: FinishReason = "length" if is_cut else "stop"
        return calls, Finish(
            reason,
            n_prompt_tokens=_count(usage.prompt_tokens),
            n_output_tokens=_count(usage.completion_tokens),
            stopped_by=self._stopped_by,
            n_cached_tokens=_count(details.cached_tokens),
        )

    def _choice(self, choice: _Choice) -> list[Piece]:
        delta = choice.delta or _Delta()
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
            self._stopped_by = choice.stop_reason if isinstance(choice.stop_reason, str) else None
        for place, call in enumerate(delta.tool_calls or ()):
            self._hold(call, place)
        thought = delta.reasoning or delta.reasoning_content or ""
        text = (delta.content or "") + (delta.refusal or "") + (choice.text or "")
        self._charge(len(thought) + len(text))
        pieces: list[Piece] = [ThinkingDelta(thought)] if thought else []
        return [*pieces, TextDelta(text)] if text else pieces

    def _hold(self, call: _Call, place: int) -> None:
        index = place if call.index is None else call.index
        if index not in self._calls and len(self._calls) == _MAX_CALLS:
            raise RemoteFailed(f"{self._faults.who} sent more than {_MAX_CALLS} calls")
        held = self._calls.setdefault(index, _Held())
        function = call.function or _Function()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        held.name = held.name or function.name or ""
        held.arguments.append(arguments)
        self._charge(len(arguments) + len(function.name or "") + 1)

    def _charge(self, n_chars: int) -> None:
        self._n_chars_left -= n_chars
        if self._n_chars_left < 0:
            raise RemoteFailed(f"{self._faults.who} wrote far more than it was asked for")


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _count(n_tokens: int | None) -> int:
    return min(max(n_tokens or 0, 0), _MAX_COUNT)
