"""Pictures: files as the pixels that a model wants of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from turbov2.errors import InvalidRequest
from turbov2.media import Decoder, Document, Image, Page, View
from turbov2.types import ImageNeed

# A page as a model needs it, once that is known, and the nanoseconds it took.
Draw = Callable[[ImageNeed], Awaitable[tuple[Image, int]]]
# Of a page that has no pixels of its own: enough for small type, and what the page classifier was trained on.
PAGE_DPI = 110.0
# Of a page that is read: print of 9 points is then 19 pixels high, and an A4 page 1240 by 1754.
READING_DPI = 150.0


def view_for(need: ImageNeed, dpi: float = PAGE_DPI) -> View:
    """Returns the view of any picture that a model needs."""
    return View(
        "gray" if need.is_gray else "rgb",
        need.short_side_px,
        need.long_side_px,
        is_letterboxed=need.is_letterboxed,
        turns_box=True,
        dpi=dpi,
    )


class Pictures:
    """Decodes in children that can be killed; see turbov2.media."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    async def page(self, payload: bytes, page: int, need: ImageNeed) -> tuple[Image, int]:
        """Returns page `page`, from 0, and the nanoseconds it took. Raises: as `Decoder.image`."""
        began_ns = time.perf_counter_ns()
        if page == 0:
            image = await self._decoder.image(payload, view_for(need))
        else:
            document = await self._decoder.open(payload)
            image = await self._decoder.render(document, page, view_for(need))
        return image, time.perf_counter_ns() - began_ns

    async def open(self, payload: bytes, password: str | None) -> Document:
        """Returns the file, ready for `words` and `upright`. Raises: as `Decoder.open`."""
        return await self._decoder.open(payload, password)

    async def words(self, document: Document, page: int) -> Page:
        """Returns what page `page`, from 0, says by itself. Raises: InvalidRequest; as `Decoder.page`."""
        _check_page(document, page)
        return await self._decoder.page(document, page)

    async def opened(
        self, document: Document, page: int, need: ImageNeed, dpi: float = PAGE_DPI
    ) -> tuple[Image, int]:
        """Returns page `page`, from 0, of an open document, and the time it took. Raises: as `words`."""
        _check_page(document, page)
        began_ns = time.perf_counter_ns()
        image = await self._decoder.render(document, page, view_for(need, dpi))
        return image, time.perf_counter_ns() - began_ns

    async def close(self) -> None:
        """Afterwards no child is left."""
        await self._decoder.close()


def _check_page(document: Document, page: int) -> None:
    if not 0 <= page < document.n_pages:
        pages = "1 page" if document.n_pages == 1 else f"{document.n_pages} pages"
        raise InvalidRequest(f"page {page + 1} does not lie within the file, which has {pages}", param="page")
