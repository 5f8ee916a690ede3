"""Pictures: files as the pixels that a model wants of them."""

from __future__ import annotations

import time

from turbov2.media import Decoder, Image, View
from turbov2.types import ImageNeed

# Of a page that has no pixels of its own: enough for small type, and what the page classifier was trained on.
PAGE_DPI = 110.0


def view_for(need: ImageNeed) -> View:
    """Returns the view of any picture that a model needs."""
    return View(
        "gray" if need.is_gray else "rgb",
        need.short_side_px,
        need.long_side_px,
        is_letterboxed=need.is_letterboxed,
        turns_box=True,
        dpi=PAGE_DPI,
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

    async def close(self) -> None:
        """Afterwards no child is left."""
        await self._decoder.close()
