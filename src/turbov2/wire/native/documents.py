"""POST /api/documents ↔ canonical requests and pages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.pages.writing import markdown
from turbov2.types import Block, Box, Chunk, DocumentRequest, EmbedResult, OutputKind, PageResult, PageRoute
from turbov2.types.embed import SparseRows
from turbov2.wire._media import MediaForm
from turbov2.wire._outputs import sparse_rows
from turbov2.wire._vectors import json_row_list
from turbov2.wire.native.classify import CLASSIFIER

CHUNK_CHARS = 1_200  # about 300 tokens of English, which every embedding model reads whole
_MIN_CHUNK_CHARS, _MAX_CHUNK_CHARS = 100, 100_000
_MAX_PAGES = 100_000
_OUTPUTS = ("dense", "sparse")
_DIGITS = 2


def parse_document(form: MediaForm) -> DocumentRequest:
    """Returns the canonical request. Raises: InvalidRequest naming the field."""
    embed_model = form.text("embed") or None
    max_pages = form.integer("max_pages", 0, 1, _MAX_PAGES)
    return DocumentRequest(
        form.required("file"),
        pages=_pages(form),
        max_pages=max_pages or None,
        password=form.text("password") or None,
        classifier=CLASSIFIER if form.flag("classify", True) else None,
        ocr_model=form.text("ocr_model") or "rapidocr",
        vlm=form.text("vlm") or None,
        chunk_chars=_chunk_chars(form, embed_model is not None),
        embed_model=embed_model,
        outputs=_outputs(form),
        keep_alive_s=form.keep_alive_s(),
    )


def _pages(form: MediaForm) -> str:
    value = form.fields.get("pages")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else form.text("pages")


def _chunk_chars(form: MediaForm, has_embed: bool) -> int:
    """Returns the longest chunk that `chunks` asks for: a number of characters, or true or false."""
    value = str(form.fields.get("chunks", ""))
    if value.lower() in ("", "none") or not value.isdigit() or value in ("0", "1"):
        return CHUNK_CHARS if form.flag("chunks", has_embed) else 0
    return form.integer("chunks", 0, _MIN_CHUNK_CHARS, _MAX_CHUNK_CHARS)


def _outputs(form: MediaForm) -> tuple[OutputKind, ...]:
    """Returns what is wanted of each chunk: a list, or in a form names parted by commas."""
    value = form.fields.get("outputs")
    if value is None or value in ("", []):
        return ("dense",)
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest('outputs is no list of names, such as ["dense", "sparse"]', param="outputs")
    wanted = tuple(dict.fromkeys(name.strip() for name in names))
    for name in wanted:
        if name not in _OUTPUTS:
            known = " and ".join(_OUTPUTS)
            raise InvalidRequest(f"outputs names '{name[:40]}', expected {known}", param="outputs")
    return cast("tuple[OutputKind, ...]", wanted)


def render_page(page: PageResult) -> bytes:
    """Returns a page as a JSON object on one line."""
    unit = "pt" if page.format == "PDF" else "px"
    fields = {
        "page": page.index + 1,
        "done": page.position + 1,
        "total": page.n_wanted,
        "width": round(page.width, _DIGITS),
        "height": round(page.height, _DIGITS),
        "unit": unit,
        "route": None if page.route is None else _route(page.route),
        "text": page.text,
        "markdown": markdown(page.blocks),
        "tables": [_table(block) for block in page.blocks if block.kind == "table"],
        "times_ms": {
            stage.removesuffix("_ns"): round(getattr(page.times, stage) / 1e6, _DIGITS)
            for stage in page.times.__struct_fields__
        },
        "error": page.error,
    }
    if page.vision:
        fields["vision"] = page.vision
    line = msgspec.json.encode(fields)
    if not page.chunks:
        return line
    return line[:-1] + b',"chunks":[%b]}' % b",".join(_chunks(page.chunks, page.embedding))


def _route(route: PageRoute) -> dict[str, Any]:
    judged = route.judgement
    return {
        "way": route.way,
        "reason": route.reason,
        "text_layer": route.text_layer,
        "classifier": None
        if judged is None
        else {
            "model": judged.model,
            "class_name": judged.label,
            "p_high": round(judged.p_high, 6),
            "threshold": judged.threshold,
        },
    }


def _table(block: Block) -> dict[str, Any]:
    return {"markdown": block.text, "box": _box(block.box)}


def _box(box: Box) -> list[float]:
    return [round(side, _DIGITS) for side in box]


def _chunks(chunks: Sequence[Chunk], embedding: EmbedResult | None) -> list[bytes]:
    """Returns the JSON object of each chunk, its vectors with it."""
    texts = [
        msgspec.json.encode({"text": each.text, "heading": each.heading, "box": _box(each.box)})[:-1]
        for each in chunks
    ]
    if embedding is None:
        return [text + b"}" for text in texts]
    failed = {error.index: error for error in embedding.failed}
    truncated = frozenset(embedding.truncated)
    dense = json_row_list(embedding.vectors) if embedding.vectors.size else []
    sparse = _sparse(embedding.sparse)
    for index, text in enumerate(texts):
        if index in failed:
            error = {"code": failed[index].code, "message": failed[index].message}
            texts[index] = text + b',"error":%b}' % msgspec.json.encode(error)
            continue
        if dense:
            text += b',"embedding":%b' % dense[index]
        if sparse:
            text += b',"sparse":%b' % sparse[index]
        texts[index] = text + (b',"truncated":true}' if index in truncated else b"}")
    return texts


def _sparse(rows: SparseRows | None) -> list[bytes]:
    if rows is None:
        return []
    return [b'{"indices":%b,"values":%b}' % pair for pair in sparse_rows(rows)]
