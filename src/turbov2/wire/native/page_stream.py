"""Pages as they are read: a frame a page, and a last one that says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

import msgspec

from turbov2.errors import TurboError
from turbov2.wire._http import Response
from turbov2.wire.native.streams import frame


class Paged(Protocol):
    """A page that was read."""

    @property
    def n_pages(self) -> int:
        """Of its document."""


P = TypeVar("P", bound=Paged)


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
            yield frame("error", msgspec.json.encode(told), kind)
        else:
            ended = {"status": "success", "pages": n_read, "page_count": first.n_pages}
            yield frame("done", msgspec.json.encode(ended), kind)


async def _page_frame(page: P, render: Callable[[P], bytes], kind: bytes) -> bytes:
    # Hundreds of lines take milliseconds, in which others want the loop.
    return frame("page", await asyncio.to_thread(render, page), kind)
