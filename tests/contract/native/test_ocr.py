"""POST /api/ocr: every format, text layers and pictures, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

pytest.importorskip("PIL", reason="reads documents: needs pillow")
pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from tests.support.pdfs import pdf
from tests.support.pictures import packed
from tests.support.printed import HEADING, LEFT_COLUMN, RIGHT_COLUMN, two_columns
from tests.support.server import REAL, RunningServer, metric, ollama_error

PROSE = ("The mill stands by the river", "and turns when the snow melts.")


def sheet(first: str) -> str:
    """Returns a page's content: two lines of text in Helvetica."""
    return f"BT /F 12 Tf 72 700 Td ({first}) Tj 0 -16 Td ({PROSE[1]}) Tj ET"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Path(tmp_path_factory.mktemp("ocr"))) as running:
        yield running


@pytest.fixture(scope="module")
def document() -> bytes:
    return pdf(*(sheet(f"Page {number}: {PROSE[0]}") for number in (1, 2, 3)))


def ask(server: RunningServer, payload: bytes, **fields: Any) -> httpx.Response:
    files = {"file": ("page.bin", payload, "application/octet-stream")}
    return server.http.post("/api/ocr", files=files, data=fields, timeout=60)


def test_the_text_layer_of_a_pdf(server: RunningServer, document: bytes) -> None:
    answer = ask(server, document)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == f"Page 1: {PROSE[0]}\n{PROSE[1]}\n"


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({"page": "2"}, [2]),
        ({"pages": "2-3"}, [2, 3]),
        ({"pages": "3,1"}, [1, 3]),
        ({"pages": "all"}, [1, 2, 3]),
    ],
)
def test_pages(server: RunningServer, document: bytes, fields: dict[str, str], numbers: list[int]) -> None:
    parts = ask(server, document, **fields).text.split("\f\n")
    assert [part.split(":")[0] for part in parts] == [f"Page {number}" for number in numbers]


def test_json_in_and_out(server: RunningServer, document: bytes) -> None:
    uri = f"data:application/pdf;base64,{base64.b64encode(document).decode()}"
    body = server.http.post("/api/ocr", json={"image": uri, "format": "json", "page": 3}).json()
    assert set(body) == {"model", "format", "n_pages", "text", "pages"}
    assert (body["model"], body["format"], body["n_pages"]) == ("rapidocr", "PDF", 3)
    (page,) = body["pages"]
    assert (page["page"], page["source"], page["turned_degrees"]) == (3, "text_layer", 0)
    assert (page["width"], page["height"]) == (1275, 1650)
    first = page["lines"][0]
    assert [word["text"] for word in first["words"]] == first["text"].split()
    left, top, right, bottom = first["words"][0]["box"]
    assert 148 < left < 155
    assert 170 < top < bottom < 200
    assert left < right


def test_markdown_and_hocr(server: RunningServer, document: bytes) -> None:
    written = ask(server, document, format="markdown")
    assert written.headers["content-type"].startswith("text/markdown")
    assert written.text == f"Page 1: {PROSE[0]} {PROSE[1]}\n"
    marked = ask(server, document, format="hocr", pages="1-2")
    assert marked.headers["content-type"].startswith("application/xhtml+xml")
    classes = [each.get("class") for each in ElementTree.fromstring(marked.content).iter()]
    assert (classes.count("ocr_page"), classes.count("ocr_line")) == (2, 4)


ROWS = (("City", "People", "Area"), ("Paris", "2102650", "105.4"), ("Rome", "2748109", "1285"))
ROWS += (("Oslo", "709037", "454"), ("Bern", "134591", "51.6"))


def paper() -> bytes:
    """Returns a page with a title, two columns written row by row, and a table."""
    texts = [(24, 72, 740, "Cities by the river")]
    for at, pair in enumerate(zip(LEFT_COLUMN, RIGHT_COLUMN, strict=True)):
        texts += [(12, left, 700 - 16 * at, text) for left, text in zip((72, 320), pair, strict=True)]
    for at, row in enumerate(ROWS):
        texts += [(12, left, 560 - 20 * at, cell) for left, cell in zip((72, 220, 370), row, strict=True)]
    return pdf("".join(f"BT /F {size} Tf {x} {y} Td ({text}) Tj ET " for size, x, y, text in texts))


def rendered(file: bytes) -> bytes:
    """Returns the first page as a picture of 150 dpi."""
    import pypdfium2

    picture = io.BytesIO()
    pypdfium2.PdfDocument(file)[0].render(scale=150 / 72).to_pil().save(picture, "PNG")
    return picture.getvalue()


def assert_both_say_the_same(server: RunningServer, file: bytes, **fields: str) -> None:
    """/api/ocr and /api/documents give one text and one Markdown, columns and table in their order."""
    answer = server.http.post("/api/documents", files={"file": ("page", file)}, data={"classify": "no"})
    (page,) = answer.json()["pages"]
    (read,) = ask(server, file, format="json", **fields).json()["pages"]
    assert read["text"] == page["text"]
    assert ask(server, file, format="markdown", **fields).text == page["markdown"] + "\n"
    table = "\n".join(
        ["| City | People | Area |", "| --- | --- | --- |"] + [f"| {' | '.join(row)} |" for row in ROWS[1:]]
    )
    prose = "\n\n".join(map(" ".join, (LEFT_COLUMN, RIGHT_COLUMN)))
    assert page["markdown"] == f"# Cities by the river\n\n{prose}\n\n{table}"
    assert [line["text"] for line in read["lines"][1:5]] == list(LEFT_COLUMN)


def test_documents_say_the_same_of_a_text_layer(server: RunningServer) -> None:
    assert_both_say_the_same(server, paper())


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("format", ["text", "markdown", "hocr", "json"])
def test_a_stream_of_pages(server: RunningServer, document: bytes, format: str) -> None:
    *pages, last = lines_of(ask(server, document, pages="1,3", format=format, stream="true"))
    assert [(page["page"], page["done"], page["total"]) for page in pages] == [(1, 1, 2), (3, 2, 2)]
    assert last == {"status": "success", "pages": 2, "page_count": 3}
    whole = ask(server, document, pages="3", format=format)
    if format == "json":
        (alone,) = whole.json()["pages"]
        assert (pages[1]["text"], pages[1]["lines"]) == (alone["text"], alone["lines"])
        assert set(pages[1]) == set(alone)
    else:
        assert pages[1][format].rstrip("\n") == whole.text.rstrip("\n")


def test_a_stream_of_events(server: RunningServer, document: bytes) -> None:
    answer = server.http.post(
        "/api/ocr", files={"file": document}, data={"pages": "all"}, headers={"accept": "text/event-stream"}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == ["event: page"] * 3 + ["event: done"]


def test_a_bad_page_does_not_end_a_stream(server: RunningServer) -> None:
    """A page that is none; asked for alone, or not as a stream, it is an error with a status of its own."""
    book = pdf(*(sheet(f"Page {number}") for number in (1, 2, 3)))
    broken = book.replace(b"/Type /Page /Parent", b"/Type /Pige /Parent", 2).replace(b"/Pige", b"/Page", 1)
    *pages, last = lines_of(ask(server, broken, pages="all", stream="true"))
    assert [page["error"]["code"] if page["error"] else None for page in pages] == [None, "bad_media", None]
    assert [page["text"][:6] for page in pages] == ["Page 1", "", "Page 3"]
    assert (pages[1]["page"], pages[1]["source"]) == (2, None)
    assert last["pages"] == 3
    assert "page 2" in ollama_error(ask(server, broken, pages="all"), 400)


@pytest.mark.parametrize("fields", [{"pages": "4"}, {"password": "x", "pages": "no"}, {"model": REAL}])
def test_a_stream_that_cannot_begin(server: RunningServer, document: bytes, fields: dict[str, str]) -> None:
    ollama_error(ask(server, document, stream="true", **fields), 400)


def test_a_locked_pdf(server: RunningServer) -> None:
    locked = pdf(sheet("Secret"), password="swordfish")
    assert "password" in ollama_error(ask(server, locked), 400)
    assert "password" in ollama_error(ask(server, locked, password="wrong"), 400)
    assert ask(server, locked, password="swordfish").text.startswith("Secret\n")


@pytest.mark.parametrize(
    ("payload", "fields", "status", "says"),
    [
        (b"plain text, no picture", {}, 415, ""),
        (b"", {}, 400, "empty"),
        (b"%PDF-1.5\nbroken", {}, 400, "cut short"),
        (packed(two_columns(), "PNG")[:500], {}, 400, ""),
        (pdf(sheet("x")), {"format": "docx"}, 400, "text, markdown, hocr, json"),
        (pdf(sheet("x")), {"page": "2"}, 400, "1 page"),
        (pdf(sheet("x")), {"pages": "0"}, 400, "pages"),
        (pdf(sheet("x")), {"pages": "one"}, 400, "one"),
        (pdf(sheet("x")), {"page": "1", "pages": "1"}, 400, "not both"),
        (pdf(sheet("x")), {"use_text_layer": "maybe"}, 400, "use_text_layer"),
        (pdf(sheet("x")), {"model": REAL}, 400, "does not read"),
        (pdf(sheet("x")), {"model": "lfm25-vl"}, 400, "vision"),
        (pdf(sheet("x")), {"model": "nonesuch"}, 404, "nonesuch"),
    ],
)
def test_what_is_refused(
    server: RunningServer, payload: bytes, fields: dict[str, str], status: int, says: str
) -> None:
    assert says in ollama_error(ask(server, payload, **fields), status)


def test_nothing_sent(server: RunningServer) -> None:
    assert "required" in ollama_error(server.http.post("/api/ocr", json={"format": "json"}), 400)


class TestPictures:
    """With the real networks."""

    @pytest.fixture(autouse=True)
    def _needs_networks(self) -> None:
        pytest.importorskip("rapidocr", reason="reads pictures: needs the extra ocr")

    def test_a_picture(self, server: RunningServer) -> None:
        body = ask(server, packed(two_columns(), "JPEG", quality=90), format="json").json()
        (page,) = body["pages"]
        assert [line["text"] for line in page["lines"]] == [HEADING, *LEFT_COLUMN, *RIGHT_COLUMN]
        assert (page["source"], page["width"], page["height"]) == ("ocr", 1000, 460)
        assert page["inference_ms"] > 0

    def test_documents_say_the_same_of_a_picture(self, server: RunningServer) -> None:
        assert_both_say_the_same(server, rendered(paper()))

    def test_a_pdf_without_its_text_layer(self, server: RunningServer) -> None:
        answer = ask(server, pdf(sheet(PROSE[0])), format="json", use_text_layer="false").json()
        (page,) = answer["pages"]
        assert page["source"] == "ocr"
        assert page["text"] == "\n".join(PROSE)
        assert (page["width"], page["height"]) == (1275, 1650)
        assert page["lines"][0]["quad"][0] == pytest.approx(150, abs=12)

    def test_a_large_picture_keeps_its_own_pixels(self, server: RunningServer) -> None:
        large = two_columns().resize((5000, 2300))
        file = io.BytesIO()
        large.save(file, "PNG")
        (page,) = ask(server, file.getvalue(), format="json").json()["pages"]
        assert page["text"].startswith(HEADING)
        assert (page["width"], page["height"]) == (5000, 2300)
        assert page["lines"][0]["words"][0]["box"][0] == pytest.approx(5 * 262, abs=30)

    def test_who_leaves_a_stream_stops_it_within_a_page(self, server: RunningServer) -> None:
        book = pdf(*(sheet(f"Page {number}") for number in range(12)))
        form = {"files": {"file": book}, "data": {"pages": "all", "use_text_layer": "no", "stream": "true"}}
        n_before = n_read(server)
        url = f"{server.base_url}/api/ocr"
        with httpx.stream("POST", url, timeout=60, **form) as answer:  # type: ignore[arg-type]
            assert json.loads(next(answer.iter_lines()))["text"].startswith("Page 0")
        n_asked = n_read(server)
        assert n_asked <= n_before + 3
        # Whoever comes next is served at once, and when that is done no other page was begun.
        assert ask(server, book, use_text_layer="no").text.startswith("Page 0")
        assert n_read(server) <= n_asked + 2


def n_read(server: RunningServer) -> float:
    return metric(server, "turbov2_requests_accepted_total", model="rapidocr")
