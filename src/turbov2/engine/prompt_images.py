"""The images of a conversation: files decoded side by side, documents page by page, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from turbov2.engine.pictures import Pictures
from turbov2.errors import InvalidRequest, MediaTooLarge, QueueFull, Stopping, TurboError, from_fields
from turbov2.media import Document, Image
from turbov2.types import ImageNeed, ImageSource

# Of one conversation: so many images never keep all of the decoder's children from others.
_AT_ONCE = 2
_TOO_LONG = "prompt is too long"  # words by which coding agents know that they have to shorten a conversation


class PromptImages:
    """Decodes what conversations show. max_pixels: of all images of one together."""

    def __init__(self, pictures: Pictures, max_images: int, max_pixels: int) -> None:
        self._pictures = pictures
        self._max_images = max_images
        self._max_pixels = max_pixels

    def check(self, sources: Sequence[ImageSource]) -> None:
        """Raises: InvalidRequest for more images than a conversation may have."""
        self._check_count(len(sources), "images")

    async def __call__(self, sources: Sequence[ImageSource], need: ImageNeed) -> list[list[Image]]:
        """Returns, for each source, its one page, or all where all are meant.

        Raises: as `check`, of pages too; as `Decoder.image` and named as the request does; MediaTooLarge.
        """
        documents = [await self._opened(source) for source in sources]
        n_pages = [1 if document is None else document.n_pages for document in documents]
        self._check_count(sum(n_pages), "images and pages")
        places, budget = asyncio.Semaphore(_AT_ONCE), _PixelBudget(self._max_pixels)

        async def page(source: ImageSource, document: Document | None, index: int) -> Image:
            async with places:
                with _named(source.name):
                    image = await self._image(source, document, index, need)
                budget.spend(image)
                return image

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    [group.create_task(page(source, document, index)) for index in range(n)]
                    for source, document, n in zip(sources, documents, n_pages, strict=True)
                ]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [[task.result() for task in each] for each in tasks]

    async def _opened(self, source: ImageSource) -> Document | None:
        if source.page is not None:
            return None
        with _named(source.name):
            return await self._pictures.open(source.payload, None)

    async def _image(
        self, source: ImageSource, document: Document | None, index: int, need: ImageNeed
    ) -> Image:
        if document is not None:
            image, _ = await self._pictures.opened(document, index, need)
        else:
            image, _ = await self._pictures.page(source.payload, source.page or 0, need)
        return image

    def _check_count(self, n: int, what: str) -> None:
        if n > self._max_images:
            raise InvalidRequest(
                f"{_TOO_LONG}: it has {n} {what}, the limit is {self._max_images}; send fewer or raise "
                "TURBOV2_MAX_IMAGES",
                param="images",
            )


class _PixelBudget:
    """Pixels that may still be decoded for one conversation."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = self._n_left = max_pixels

    def spend(self, image: Image) -> None:
        height_px, width_px = image.pixels.shape[:2]
        self._n_left -= height_px * width_px
        if self._n_left < 0:
            raise MediaTooLarge(
                f"{_TOO_LONG}: its images have more than {self._max_pixels} pixels together; send smaller "
                "ones or fewer, or raise TURBOV2_MEDIA_MAX_PIXELS",
                param="images",
            )


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Inside, an error that an image causes says which it is."""
    try:
        yield
    except (QueueFull, Stopping):
        raise
    except TurboError as error:
        if not name:
            raise
        fields = error.to_fields() | {"message": f"{name}: {error.message}", "param": name}
        raise from_fields(fields) from error
