"""Conversations with models that write: from files and turns to text as it is written."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from itertools import accumulate

from msgspec.structs import replace

from turbov2.batching import GenerateJob
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_sees, check_writes
from turbov2.engine.lanes import lane_of
from turbov2.engine.pictures import READING_DPI, Draw, Pictures
from turbov2.engine.prompt_images import PromptImages
from turbov2.engine.relay import relay
from turbov2.engine.running import Running
from turbov2.engine.understanding import Understanding
from turbov2.media import Document, Image
from turbov2.obs.ledger import Ledger
from turbov2.types import (
    ChatEvent,
    ChatNews,
    ChatRequest,
    ChatResult,
    Context,
    GenerateTask,
    ImageFacts,
    ImagePart,
    Loaded,
    Part,
    PromptMessage,
    TextDelta,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)


class Chatting:
    """The operation `chat` of one engine."""

    def __init__(
        self, catalog: Catalog, running: Running, pictures: Pictures, images: PromptImages, ledger: Ledger
    ) -> None:
        self._catalog = catalog
        self._running = running
        self._pictures = pictures
        self._images = images
        self._ledger = ledger

    def __call__(self, request: ChatRequest, context: Context) -> AsyncGenerator[ChatEvent, None]:
        """Yields the answer as it is written, and last a ChatResult; see Engine."""
        return relay(partial(self._write, request, None, context))

    async def count(self, request: ChatRequest, context: Context) -> int:
        """Returns how many tokens the model would read; see Engine."""
        spec = self._spec_for(request, None)
        n_bytes = _n_chars(request) + sum(len(image.payload) for image in request.images)
        lane = lane_of(context.lane, 1, n_bytes)
        with self._ledger.entry(spec.name, lane, 1, context, "count_tokens"):
            shown, _, _ = await self._shown(spec, request, None)
            pixels = tuple(image.pixels for each in shown for image in each)
            return await self._running.count(spec, _task(request, shown), pixels, n_bytes)

    async def opened(
        self, document: Document, index: int, request: ChatRequest, context: Context
    ) -> tuple[str, ChatResult]:
        """Returns what the model writes about page `index`, from 0, of a document that is open.

        The page is drawn as for reading, and is image 0 of the request, which has no others.
        """
        news: list[ChatNews] = []
        draw = partial(self._pictures.opened, document, index, dpi=READING_DPI)
        result = await self._write(request, draw, context, news.append)
        return "".join(each.text for each in news if isinstance(each, TextDelta)), result

    async def _write(
        self,
        request: ChatRequest,
        draw: Draw | None,
        context: Context,
        on_news: Callable[[ChatNews], None],
    ) -> ChatResult:
        """draw: gives the one image of a request that brings none."""
        started_ns = time.perf_counter_ns()
        spec = self._spec_for(request, draw)
        n_chars = _n_chars(request)
        lane = lane_of(context.lane, 1, n_chars)
        with self._ledger.entry(spec.name, lane, 1, context, "chat") as entry:
            shown, loaded_ns, decode_ns = await self._shown(spec, request, draw)
            images = [image for each in shown for image in each]
            pixels = tuple(image.pixels for image in images)
            task, understanding = _task(request, shown), Understanding(request, on_news)

            def job_for(loaded: Loaded) -> GenerateJob:
                return GenerateJob(task, pixels, understanding.begin(loaded), lane, context.key_id)

            n_bytes = n_chars + sum(len(image.payload) for image in request.images)
            n_bytes += 0 if draw is None else sum(each.nbytes for each in pixels)
            written, load_ns = await self._running.generate(spec, job_for, n_bytes, request.keep_alive_s)
            answer = ChatResult(
                model=spec.name,
                finish=understanding.end(written.finish),
                images=tuple(map(_facts, images)),
                load_ns=loaded_ns + load_ns,
                total_ns=time.perf_counter_ns() - started_ns,
                decode_ns=decode_ns,
                queue_ns=written.queue_ns,
                inference_ns=written.inference_ns,
            )
            entry.answered(answer)
            return answer

    def _spec_for(self, request: ChatRequest, draw: Draw | None) -> ModelSpec:
        """Raises: ModelNotFound, NotCapable."""
        spec = self._catalog.resolve(request.model)
        (check_sees if request.images or draw else check_writes)(spec)
        return spec

    async def _shown(
        self, spec: ModelSpec, request: ChatRequest, draw: Draw | None
    ) -> tuple[list[list[Image]], int, int]:
        """Returns each image's pages, the wait for the model that wants them so, and the time it took."""
        if not request.images and draw is None:
            return [], 0, 0
        self._images.check(request.images)  # before a model is loaded for what cannot be
        need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
        if draw is not None:
            image, decode_ns = await draw(need)
            return [[image]], loaded_ns, decode_ns
        began_ns = time.perf_counter_ns()
        shown = await self._images(request.images, need)
        return shown, loaded_ns, time.perf_counter_ns() - began_ns


def _n_chars(request: ChatRequest) -> int:
    """Returns the length of what is said, with the tools that are told of."""
    n_chars = sum(len(tool.description) + len(tool.parameters) for tool in request.tools)
    for part in (part for message in request.messages for part in message.parts):
        match part:
            case TextPart(text) | ThinkingPart(text) | ToolCallPart(arguments=text):
                n_chars += len(text)
    return n_chars


def _task(request: ChatRequest, shown: Sequence[Sequence[Image]]) -> GenerateTask:
    return GenerateTask(
        _with_pages(request.messages, [len(each) for each in shown]),
        request.sampling,
        request.tools,
        request.choice,
        request.schema,
        request.thinks,
        request.is_raw,
    )


def _with_pages(messages: tuple[PromptMessage, ...], n_pages: list[int]) -> tuple[PromptMessage, ...]:
    """Returns the messages with an image for each page where one stands for `n_pages[index]` of them."""
    ends = list(accumulate(n_pages))

    def unfolded(part: Part) -> list[Part]:
        if not isinstance(part, ImagePart):
            return [part]
        return [ImagePart(index) for index in range(ends[part.index] - n_pages[part.index], ends[part.index])]

    return tuple(
        replace(message, parts=tuple(each for part in message.parts for each in unfolded(part)))
        for message in messages
    )


def _facts(image: Image) -> ImageFacts:
    return ImageFacts(image.format, image.source_width_px, image.source_height_px, image.n_frames)
