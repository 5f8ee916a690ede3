"""Documents page by page: routes, bad pages, reading ahead, cancels; with eyes that are told what to see."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
import numpy as np
import pytest

from tests.support.pdfs import pdf
from turbov2.engine.documents import Documents
from turbov2.engine.documents.eyes import Described, Judged
from turbov2.engine.documents.routing import choose_route
from turbov2.engine.reading import DrawnPage
from turbov2.errors import (
    BadMedia,
    DeadlineExceeded,
    InferenceFailed,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    QueueFull,
)
from turbov2.media import Decoder, Document, Image, Page, PageObjects, Soundness
from turbov2.pages.structure import blocks_of
from turbov2.types import (
    Context,
    DocumentRequest,
    EmbedRequest,
    EmbedResult,
    Judgement,
    PageResult,
    ReadResult,
    TextLine,
)

CONTEXT = Context("test")
LOW = Judgement("judge", "LOW", 0.1, 0.5)
HIGH = Judgement("judge", "HIGH", 0.9, 0.5)


class Files:
    """A decoder of files that are lists of verdicts, such as b"sound none sound"."""

    def __init__(self) -> None:
        self.errors: dict[int, Exception] = {}
        self.seen: list[int] = []

    async def open(self, payload: bytes, password: str | None = None) -> Document:
        if payload == b"broken":
            raise BadMedia("the file is broken")
        n_pages = len(payload.split())
        sizes = np.full((n_pages, 2), (600, 800), np.float32)
        return Document("PDF", sizes, False, 1, np.frombuffer(payload, np.uint8), password)

    async def page(self, document: Document, index: int) -> Page:
        self.seen.append(index)
        await asyncio.sleep(0)
        if index in self.errors:
            raise self.errors[index]
        verdict = bytes(document.payload).split()[index].decode()
        words = ["page", str(index + 1)] if verdict != "none" else []
        boxes = np.array([[10, 10, 40, 20], [45, 10, 50, 20]], np.float32)[: len(words)]
        lines = np.zeros(len(words), np.int32)
        return Page(index, 600, 800, 0, words, boxes, lines, Soundness(verdict), PageObjects())  # type: ignore[arg-type]


class Eyes:
    """Sees what it was told; pages are pictures of half the page's size."""

    def __init__(self) -> None:
        self.judgements: dict[int, Judgement | Exception] = {}
        self.readings: dict[int, Exception] = {}
        self.absent: Exception | None = None
        self.descriptions: dict[int, Exception] = {}
        self.n_judged = self.n_reading = 0
        self.pause = asyncio.Event()
        self.pause.set()
        self.has_begun = asyncio.Event()

    async def check(self, request: DocumentRequest) -> None:
        if self.absent is not None:
            raise self.absent

    async def judge(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Judged:
        self.n_judged += 1
        said = self.judgements.get(index, LOW)
        if isinstance(said, Exception):
            raise said
        return Judged(said, 1, 2)

    async def picture(self, document: Document, index: int, request: DocumentRequest) -> DrawnPage:
        return DrawnPage(document, index, Image(np.zeros((400, 300, 3), np.uint8), "PDF", 300, 400), 0, 0)

    async def read(self, picture: DrawnPage, request: DocumentRequest, context: Context) -> ReadResult:
        self.n_reading += 1
        self.has_begun.set()
        try:
            await self.pause.wait()
        finally:
            self.n_reading -= 1
        if error := self.readings.get(picture.page):
            raise error
        quad = (5.0, 5.0, 50.0, 5.0, 50.0, 10.0, 5.0, 10.0)
        blocks = blocks_of([TextLine(f"read {picture.page + 1}", 0.9, quad)])
        return ReadResult("reader", "ocr", blocks, 0, "PDF", picture.page, 1, 300, 400, 0, 0)

    async def describe(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Described:
        if error := self.descriptions.get(index):
            raise error
        return Described(f"A chart on page {index + 1}.", is_cut=index == 2)


async def embed(request: EmbedRequest, context: Context) -> EmbedResult:
    n = len(request.inputs)
    return EmbedResult(request.model, np.ones((n, 4), np.float32), n, (), 0, 0)


class Reader:
    """A pipeline and its parts."""

    def __init__(self) -> None:
        self.files, self.eyes = Files(), Eyes()
        self.documents = Documents(self.files, self.eyes, embed)

    async def read(self, payload: bytes, **fields: object) -> list[PageResult]:
        request = DocumentRequest(payload, **fields)  # type: ignore[arg-type]
        return [page async for page in self.documents(request, CONTEXT)]


@pytest.mark.parametrize(
    ("verdict", "judgement", "has_vlm", "way", "said"),
    [
        ("sound", LOW, False, "text", "sound"),
        ("sound", LOW, True, "text", "sound"),
        ("sound", None, True, "text", "unjudged"),
        ("sound", HIGH, False, "text", "no vlm was named"),
        ("sound", HIGH, True, "text+vlm", "HIGH"),
        ("none", LOW, True, "ocr", "no text layer"),
        ("none", None, True, "ocr", "unjudged"),
        ("scan", HIGH, False, "ocr", "no vlm was named"),
        ("hidden", HIGH, True, "vlm", "HIGH"),
        ("unheard of", LOW, False, "ocr", "unheard of"),
    ],
)
def test_routes(verdict: str, judgement: Judgement | None, has_vlm: bool, way: str, said: str) -> None:
    route = choose_route(verdict, judgement, "unjudged", has_vlm=has_vlm)
    assert route.way == way
    assert said in route.reason
    assert route.judgement is judgement
    assert route.text_layer == verdict


async def test_pages_come_in_order_with_routes_and_times() -> None:
    reader = Reader()
    pages = await reader.read(b"sound none sound")
    assert [(page.index, page.position, page.n_wanted, page.n_pages) for page in pages] == [
        (0, 0, 3, 3), (1, 1, 3, 3), (2, 2, 3, 3),
    ]  # fmt: skip
    assert [page.text for page in pages] == ["page 1", "read 2", "page 3"]
    assert [page.route.way for page in pages if page.route] == ["text", "ocr", "text"]
    assert all(page.route is not None and page.route.judgement == LOW for page in pages)
    assert pages[1].blocks[0].box == (10, 10, 100, 20)  # pixels of the picture as points of the page
    times = pages[1].times
    assert times.classify_ns == 2
    assert times.decode_ns > 0
    assert times.ocr_ns > 0
    assert times.text_ns == times.vlm_ns == times.embed_ns == 0
    assert times.total_ns >= times.ocr_ns


async def test_ranges_bounds_and_resumption() -> None:
    reader = Reader()
    file = b"sound " * 9
    assert [page.index for page in await reader.read(file, pages="2-4,9")] == [1, 2, 3, 8]
    assert [page.index for page in await reader.read(file, pages="2-4,9", max_pages=2)] == [1, 2]
    rest = await reader.read(file, pages="2-4,9", first=2)
    assert [(page.index, page.position, page.n_wanted) for page in rest] == [(3, 2, 4), (8, 3, 4)]
    assert await reader.read(file, pages="1", first=1) == []
    with pytest.raises(InvalidRequest, match="9 pages"):
        await reader.read(file, pages="10")


async def test_a_bad_page_carries_its_error_and_others_go_on() -> None:
    reader = Reader()
    reader.files.errors = {1: BadMedia("page 2 of the PDF is broken"), 3: DeadlineExceeded("too slow")}
    reader.eyes.readings = {5: InferenceFailed("failed")}
    pages = await reader.read(b"sound sound none sound sound none sound")
    assert [page.error.code if page.error else "" for page in pages] == [
        "", "bad_media", "", "deadline_exceeded", "", "inference_failed", "",
    ]  # fmt: skip
    assert pages[1].route is None
    assert (pages[1].width, pages[1].height) == (600, 800)
    assert pages[5].route is not None
    assert pages[5].route.way == "ocr"


async def test_a_file_that_cannot_be_opened() -> None:
    with pytest.raises(BadMedia):
        await Reader().read(b"broken")


@pytest.mark.parametrize("at", ["decode", "judge", "ocr"])
async def test_want_of_room_ends_the_reading(at: str) -> None:
    reader, full = Reader(), QueueFull("full", retry_after_s=1)
    reader.files.errors = {2: full} if at == "decode" else {}
    reader.eyes.judgements = {2: full} if at == "judge" else {}
    reader.eyes.readings = {2: full} if at == "ocr" else {}
    pages = reader.documents(DocumentRequest(b"none " * 5), CONTEXT)
    assert [(await anext(pages)).index, (await anext(pages)).index] == [0, 1]
    with pytest.raises(QueueFull):
        await anext(pages)


async def test_a_classifier_that_is_not_here_is_asked_once_and_nothing_is_guessed() -> None:
    reader = Reader()
    reader.eyes.judgements = dict.fromkeys(range(5), ModelUnavailable("not here"))
    pages = await reader.read(b"sound none sound")
    assert reader.eyes.n_judged == 1
    assert all(page.route and page.route.judgement is None for page in pages)
    assert all(page.route and "not on this machine" in page.route.reason for page in pages)
    assert [page.route.way for page in pages if page.route] == ["text", "ocr", "text"]


async def test_a_classifier_that_fails_leaves_that_page_unjudged() -> None:
    reader = Reader()
    reader.eyes.judgements = {0: InferenceFailed("failed")}
    first, second = await reader.read(b"sound sound")
    assert first.route is not None
    assert "failed on this page" in first.route.reason
    assert second.route is not None
    assert second.route.judgement == LOW


async def test_no_classifier_is_asked_when_none_is_named() -> None:
    reader = Reader()
    (page,) = await reader.read(b"sound", classifier=None)
    assert reader.eyes.n_judged == 0
    assert page.route is not None
    assert "no classifier was asked" in page.route.reason


async def test_the_vlm_looks_at_high_pages_only() -> None:
    reader = Reader()
    reader.eyes.judgements = {1: HIGH, 2: HIGH}
    pages = await reader.read(b"sound sound none", vlm="v", chunk_chars=100)
    assert [page.vision for page in pages] == ["", "A chart on page 2.", "A chart on page 3."]
    assert [page.text for page in pages] == ["page 1", "page 2", "A chart on page 3."]
    assert [chunk.text for chunk in pages[1].chunks] == ["page 2", "A chart on page 2."]
    cut = [page.route is not None and "limit of tokens" in page.route.reason for page in pages]
    assert cut == [False, False, True]


async def test_a_model_that_is_not_here_is_told_before_any_page() -> None:
    reader = Reader()
    reader.eyes.absent = ModelUnavailable("no such library")
    with pytest.raises(ModelUnavailable):
        await reader.read(b"sound sound", vlm="v")
    assert reader.files.seen == []


async def test_a_vlm_that_vanishes_is_the_error_of_its_page() -> None:
    reader = Reader()
    reader.eyes.judgements = {1: HIGH, 2: HIGH}
    reader.eyes.descriptions = {1: ModelNotFound("its weights are gone")}
    pages = await reader.read(b"sound none none sound", vlm="v")
    assert [page.error.code if page.error else "" for page in pages] == ["", "model_not_found", "", ""]
    assert pages[2].vision == "A chart on page 3."


async def test_a_check_tells_what_reading_would() -> None:
    reader = Reader()
    await reader.documents.check(DocumentRequest(b"sound sound", pages="2"))
    with pytest.raises(InvalidRequest, match="2 pages"):
        await reader.documents.check(DocumentRequest(b"sound sound", pages="3"))
    with pytest.raises(BadMedia):
        await reader.documents.check(DocumentRequest(b"broken"))
    assert reader.files.seen == []


@pytest.mark.parametrize("fields", [{"vlm": "v", "classifier": None}, {"embed_model": "m"}])
async def test_wishes_that_need_others(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await Reader().read(b"sound", **fields)


async def test_chunks_are_embedded() -> None:
    (page,) = await Reader().read(b"sound", chunk_chars=100, embed_model="m")
    assert [chunk.text for chunk in page.chunks] == ["page 1"]
    assert page.embedding is not None
    assert page.embedding.vectors.shape == (1, 4)


async def test_what_is_wrong_with_the_embedding_fails_the_request() -> None:
    reader = Reader()

    async def refuse(request: EmbedRequest, context: Context) -> EmbedResult:
        raise InvalidRequest("no sparse output", param="outputs")

    reader.documents = Documents(reader.files, reader.eyes, refuse)
    with pytest.raises(InvalidRequest, match="sparse"):
        await reader.read(b"sound sound", chunk_chars=100, embed_model="m")


async def test_one_page_is_decoded_ahead_and_no_more() -> None:
    reader = Reader()
    async with aclosing(reader.documents(DocumentRequest(b"sound " * 9), CONTEXT)) as pages:
        for n in range(1, 4):
            await anext(pages)
            await asyncio.sleep(0.01)
            assert reader.files.seen == list(range(n + 1))


async def test_a_cancel_stops_at_once_and_leaves_no_task() -> None:
    reader = Reader()
    reader.eyes.pause.clear()
    before = asyncio.all_tasks()
    task = asyncio.create_task(reader.read(b"none " * 9))
    await reader.eyes.has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reader.eyes.n_reading == 0
    assert asyncio.all_tasks() == before
    assert reader.files.seen in ([0], [0, 1])


async def test_the_lane_follows_the_number_of_pages() -> None:
    lanes = []

    async def look(request: EmbedRequest, context: Context) -> EmbedResult:
        lanes.append(context.lane)
        return await embed(request, context)

    reader = Reader()
    reader.documents = Documents(reader.files, reader.eyes, look)
    for n_pages, lane in ((1, None), (64, None), (64, "interactive")):
        context = msgspec.structs.replace(CONTEXT, lane=lane)
        request = DocumentRequest(b"sound " * n_pages, chunk_chars=100, embed_model="m")
        async with aclosing(reader.documents(request, context)) as pages:
            await anext(pages)
    assert lanes == ["interactive", "bulk", "interactive"]


PROSE = "The quick brown fox jumps over the lazy dog and then it sleeps until the evening comes"


async def test_a_real_pdf_with_a_table_and_an_empty_page() -> None:
    rows = [("City", "People", "Area"), ("Paris", "2102650", "105.4"), ("Rome", "2748109", "1285")]
    rows += [("Oslo", "709037", "454")]
    table = "".join(
        f"BT /F 10 Tf {left} {560 - 20 * y} Td ({cell}) Tj ET "
        for y, row in enumerate(rows)
        for left, cell in zip((50, 200, 350), row, strict=True)
    )
    lines = "".join(f"BT /F 10 Tf 50 {700 - 12 * n} Td ({PROSE}) Tj ET " for n in range(4))
    title = "BT /F 24 Tf 50 740 Td (Cities of Europe) Tj ET "
    decoder = Decoder(n_children=1)
    try:
        request = DocumentRequest(pdf(title + lines + table, ""), chunk_chars=300)
        pages = [page async for page in Documents(decoder, Eyes(), embed)(request, CONTEXT)]
    finally:
        await decoder.close()
    first, second = pages
    assert [block.kind for block in first.blocks] == ["heading", "paragraph", "table"]
    assert first.text.startswith("Cities of Europe\n\n" + PROSE)
    assert "| Rome | 2748109 | 1285 |" in first.blocks[2].text
    assert [chunk.heading for chunk in first.chunks] == ["Cities of Europe"] * len(first.chunks)
    assert first.route is not None
    assert first.route.way == "text"
    assert second.route is not None
    assert second.route.way == "ocr"
