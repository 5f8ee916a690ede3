"""POST /api/ocr ↔ canonical requests and results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

import turbov2
from turbov2.errors import InvalidRequest
from turbov2.pages.hocr import HocrPage, hocr
from turbov2.pages.writing import markdown, plain_text
from turbov2.types import ReadRequest, ReadResult, TextLine
from turbov2.wire._http import TEXT, Response
from turbov2.wire._media import MediaForm

READER = "rapidocr"
FORMATS = ("text", "markdown", "hocr", "json")
_MARKDOWN = b"text/markdown; charset=utf-8"
_XHTML = b"application/xhtml+xml; charset=utf-8"
_PAGE_BREAK = "\f\n"  # of plain text, as other readers of pages write it
_RULE = "\n\n---\n\n"


class AskedOcr(msgspec.Struct, frozen=True):
    """What a request asks for. pages: as in "1-3,7"; empty: all."""

    request: ReadRequest
    pages: str
    format: str
    title: str


def parse_ocr(form: MediaForm) -> AskedOcr:
    """Returns what is asked for; without `page` and `pages` the first page. Raises: InvalidRequest."""
    format = form.text("format") or "text"
    if format not in FORMATS:
        raise InvalidRequest(
            f"format is '{format[:40]}', expected one of {', '.join(FORMATS)}", param="format"
        )
    request = ReadRequest(
        form.text("model") or READER,
        form.required("image"),
        password=form.text("password") or None,
        use_text_layer=form.flag("use_text_layer", True),
        keep_alive_s=form.keep_alive_s(),
    )
    return AskedOcr(request, _pages(form), format, form.text("filename"))


def render_ocr(asked: AskedOcr, results: Sequence[ReadResult]) -> Response:
    """Returns the pages in the format that was asked for."""
    write, media_type = _WRITERS[asked.format]
    return Response(write(asked, results).encode("utf-8", "replace"), media_type=media_type)


def render_page(asked: AskedOcr, result: ReadResult) -> bytes:
    """Returns one page as a JSON object on one line, its text in the format that was asked for."""
    return msgspec.json.encode(_page(asked, result))


def _pages(form: MediaForm) -> str:
    """Returns the page range. Both `page` and `pages` take one; a number may come as such."""
    given = [form.fields[name] for name in ("page", "pages") if form.fields.get(name) not in (None, "")]
    if len(given) > 1:
        raise InvalidRequest("send page or pages, not both", param="pages")
    if not given:
        return "1"
    if isinstance(given[0], bool) or not isinstance(given[0], str | int):
        raise InvalidRequest("pages is neither a number nor a range such as 1-3,7", param="pages")
    text = str(given[0])
    return "" if text == "all" else text


def _as_text(asked: AskedOcr, results: Sequence[ReadResult]) -> str:
    return _PAGE_BREAK.join(plain_text(result.blocks) + "\n" for result in results)


def _as_markdown(asked: AskedOcr, results: Sequence[ReadResult]) -> str:
    return _RULE.join(markdown(result.blocks) for result in results) + "\n"


def _as_hocr(asked: AskedOcr, results: Sequence[ReadResult]) -> str:
    pages = [HocrPage(each.page, each.width_px, each.height_px, each.blocks) for each in results]
    return hocr(pages, asked.title, f"turbov2 {turbov2.__version__} {results[0].model}")


def _as_json(asked: AskedOcr, results: Sequence[ReadResult]) -> str:
    first = results[0]
    body = {
        "model": first.model,
        "format": first.format,
        "n_pages": first.n_pages,
        "text": _as_text(asked, results),
        "pages": [_page(asked, result) for result in results],
    }
    return msgspec.json.encode(body).decode()


def _page(asked: AskedOcr, result: ReadResult) -> dict[str, Any]:
    return {
        "page": result.page + 1,
        "done": result.position + 1,
        "total": result.n_wanted,
        "source": result.source,
        "width": result.width_px,
        "height": result.height_px,
        "turned_degrees": result.turned_degrees,
        **_content(asked, result),
        "total_ms": _ms(result.total_ns),
        "decode_ms": _ms(result.decode_ns),
        "queue_ms": _ms(result.queue_ns),
        "inference_ms": _ms(result.inference_ns),
        "load_ms": _ms(result.load_ns),
        "error": result.error,
    }


def _content(asked: AskedOcr, result: ReadResult) -> dict[str, Any]:
    """Returns the page's text under the name of the format, in JSON with its lines."""
    match asked.format:
        case "markdown":
            return {"markdown": markdown(result.blocks)}
        case "hocr":
            return {"hocr": _as_hocr(asked, [result])}
        case "json":
            return {"text": plain_text(result.blocks), "lines": [_line(line) for line in result.lines]}
        case _:
            return {"text": plain_text(result.blocks)}


def _line(line: TextLine) -> dict[str, Any]:
    words = [
        {
            "text": word.text,
            "confidence": word.confidence,
            "box": (word.left, word.top, word.right, word.bottom),
        }
        for word in line.words
    ]
    return {"text": line.text, "confidence": line.confidence, "quad": line.quad, "words": words}


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)


_Writer = Callable[[AskedOcr, Sequence[ReadResult]], str]
_WRITERS: dict[str, tuple[_Writer, bytes]] = {
    "text": (_as_text, TEXT),
    "markdown": (_as_markdown, _MARKDOWN),
    "hocr": (_as_hocr, _XHTML),
    "json": (_as_json, b"application/json; charset=utf-8"),
}
