"""Pages as they are read: a frame a page, and a last one that says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

import msgspec

from turbov2.errors import TurboError
from turbov2.wire._http import NDJSON, Request, Response
from turbov2.wire._lines import on_one_line
from turbov2.wire._media import MediaForm
from turbov2.wire._sse import SSE, sse_event


class Paged(Protocol):
    """A page that was read."""

    @property
    def n_pages(self) -> int:
        """Of its document."""


P = TypeVar("P", bound=Paged)


def stream_kind(request: Request, form: MediaForm) -> bytes | None:
    """Returns the media type of a stream, None for a whole answer; `stream` goes before the Accept header."""
    accepted = (request.header(b"accept") or b"").lower()
    kind = SSE if b"text/event-stream" in accepted else NDJSON if NDJSON in accepted else None
    return (kind or NDJSON) if form.flag("stream", kind is not None) else None


async def page_stream(pages: AsyncGenerator[P, None], render: Callable[[P], bytes], kind: bytes) -> Response:
    """Returns the stream of pages, each rendered on one line.

    Raises: what is wrong with the file, or with all pages; that has a status of its own.
    """
    try:
        first = await anext(pages)
    except BaseException:
        await pages.aclose()
        raise
    return Response(_frames(first, pages, render, kind), media_type=kind)


async def _frames(
    first: P, rest: AsyncGenerator[P, None], render: Callable[[P], bytes], kind: bytes
) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield await _page_frame(first, render, kind)
        n_read = 1
        try:
            async for page in rest:
                yield await _page_frame(page, render, kind)
                n_read += 1
        except TurboError as error:
            told = {"error": error.message, "code": error.code, "pages": n_read}
            yield _frame("error", msgspec.json.encode(told), kind)
        else:
            ended = {"status": "success", "pages": n_read, "page_count": first.n_pages}
            yield _frame("done", msgspec.json.encode(ended), kind)


async def _page_frame(page: P, render: Callable[[P], bytes], kind: bytes) -> bytes:
    # Hundreds of lines take milliseconds, in which others want the loop.
    return _frame("page", await asyncio.to_thread(render, page), kind)


def _frame(name: str, line: bytes, kind: bytes) -> bytes:
    line = on_one_line(line)
    return sse_event(name, line) if kind == SSE else line + b"\n"
