"""One answer of a model, understood as it is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from msgspec.structs import replace

from turbov2.answers import AnswerReader, Declared
from turbov2.types import ChatNews, ChatRequest, Finish, Loaded, Piece, PromptCounted, ReplyFormat

_RAW = ReplyFormat()


class Understanding:
    """Tells `on_news` what the pieces of one answer mean."""

    def __init__(self, request: ChatRequest, on_news: Callable[[ChatNews], None]) -> None:
        self._request = request
        self._on_news = on_news
        self._reader = self._new_reader(_RAW)

    def begin(self, loaded: Loaded) -> Callable[[Piece], None]:
        """Returns what takes the pieces that this model writes. Called again where another writes instead."""
        self._reader = self._new_reader(_RAW if self._request.is_raw else loaded.reply)
        return self._take

    def end(self, finish: Finish) -> Finish:
        """Returns how the answer ended, once what was held back is told."""
        is_cut = finish.reason in ("length", "cancelled")
        for delta in self._reader.end(is_cut=is_cut):
            self._on_news(delta)
        has_called = self._reader.has_called and not is_cut
        return replace(finish, reason="tool_calls") if has_called else finish

    def _take(self, piece: Piece) -> None:
        if isinstance(piece, PromptCounted):
            self._on_news(piece)
            return
        for delta in self._reader.read(piece) if isinstance(piece, str) else self._reader.tell(piece):
            self._on_news(delta)

    def _new_reader(self, form: ReplyFormat) -> AnswerReader:
        request = self._request
        declared = Declared(request.tools, request.choice)
        return AnswerReader(form, declared, is_parallel=request.choice.is_parallel, new_id=_new_id)


def _new_id() -> str:
    return secrets.token_hex(12)
