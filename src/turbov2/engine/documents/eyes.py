"""Models that look at pages of an open document: the classifier, OCR, and one that describes what it sees."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from turbov2.catalog import ModelSpec
from turbov2.engine.chatting import Chatting
from turbov2.engine.checks import check_classifies, check_embeds, check_reads, check_sees
from turbov2.engine.classifying import Classifying
from turbov2.engine.reading import DrawnPage, Reading
from turbov2.engine.shelf import Shelf
from turbov2.media import Document
from turbov2.types import (
    ChatRequest,
    Context,
    DocumentRequest,
    ImagePart,
    Judgement,
    PromptMessage,
    ReadResult,
    Sampling,
    TextPart,
)


class Judged(NamedTuple):
    """What the classifier said, and the nanoseconds of getting the picture and of looking."""

    judgement: Judgement
    decode_ns: int
    classify_ns: int


class Described(NamedTuple):
    """What the VLM wrote; `is_cut`: it was not done when it had written as much as it may."""

    text: str
    is_cut: bool = False


class Eyes(Protocol):
    """What a pipeline wants of models that look."""

    async def check(self, request: DocumentRequest) -> None:
        """Raises: ModelNotFound, NotCapable, ModelUnavailable for a model that cannot do its part.

        The classifier, and the model that reads, need not be here: no guess stands in for the one, and pages
        with a sound text layer do without the other.
        """

    async def judge(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Judged:
        """Returns what the classifier says of the page."""

    async def picture(self, document: Document, index: int, request: DocumentRequest) -> DrawnPage:
        """Returns the page as the OCR model wants it."""

    async def read(self, picture: DrawnPage, request: DocumentRequest, context: Context) -> ReadResult:
        """Returns the lines of the page."""

    async def describe(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Described:
        """Returns what the VLM writes about the page."""


_PROMPT = (
    "Write down everything on this page in reading order, as Markdown: text as it stands, tables as Markdown "
    "tables, and for each chart, diagram or picture a short description in brackets."
)
_DESCRIBE = (PromptMessage("user", (ImagePart(0), TextPart(_PROMPT))),)
_DESCRIBED = Sampling(max_tokens=2048)


class ModelEyes:
    """The eyes of one engine: its own operations, on a document that is open."""

    def __init__(self, shelf: Shelf, classifying: Classifying, reading: Reading, chatting: Chatting) -> None:
        self._shelf = shelf
        self._catalog = shelf.catalog
        self._classifying = classifying
        self._reading = reading
        self._chatting = chatting

    async def check(self, request: DocumentRequest) -> None:
        """Raises: ModelNotFound, NotCapable, ModelUnavailable; see Eyes."""
        if request.classifier is not None:
            check_classifies(self._catalog.resolve(request.classifier))
        check_reads(self._catalog.resolve(request.ocr_model))
        needed: list[ModelSpec] = []
        if request.embed_model is not None:
            needed.append(self._catalog.resolve(request.embed_model))
            check_embeds(needed[-1])
        if request.vlm is not None:
            needed.append(self._catalog.resolve(request.vlm))
            check_sees(needed[-1])
        for spec in needed:
            await asyncio.to_thread(self._shelf.check_here, spec)

    async def judge(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Judged:
        """Returns what the classifier says of the page; see Eyes."""
        assert request.classifier is not None, "a classifier was asked for. This is a bug."
        keep_alive_s = request.keep_alive_s
        found = await self._classifying.opened(document, index, request.classifier, keep_alive_s, context)
        judgement = Judgement(found.model, found.label, found.p_high, found.threshold)
        return Judged(judgement, found.decode_ns, found.total_ns - found.decode_ns - found.load_ns)

    async def picture(self, document: Document, index: int, request: DocumentRequest) -> DrawnPage:
        """Returns the page as the OCR model wants it; see Eyes."""
        return await self._reading.draw(document, index, request.ocr_model, request.keep_alive_s)

    async def read(self, picture: DrawnPage, request: DocumentRequest, context: Context) -> ReadResult:
        """Returns the lines of the page; see Eyes."""
        return await self._reading.drawn(picture, request.ocr_model, request.keep_alive_s, context)

    async def describe(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Described:
        """Returns what the VLM writes about the page; see Eyes."""
        assert request.vlm is not None, "a VLM was asked for. This is a bug."
        keep_alive_s = request.keep_alive_s
        asked = ChatRequest(request.vlm, _DESCRIBE, sampling=_DESCRIBED, keep_alive_s=keep_alive_s)
        text, result = await self._chatting.opened(document, index, asked, context)
        return Described(text, is_cut=result.finish.reason == "length")
