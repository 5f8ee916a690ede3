"""Ollama bodies → canonical requests, results → Ollama bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.types import EmbedRequest, EmbedResult
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._timings import timings
from turbov2.wire._vectors import blocks, is_small, json_row_list, json_rows
from turbov2.wire.ollama.schema import EmbedBody, EmbeddingsBody


def embed_inputs(body: EmbedBody) -> Sequence[str]:
    """Returns the texts; none when the request only loads or unloads."""
    if isinstance(body.input, str):
        return [body.input] if body.input else []
    return body.input or []


def parse_embed(body: EmbedBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest."""
    inputs = embed_inputs(body)
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=body.input_type or "document",
        dimensions=body.dimensions or None,  # 0 is Ollama's "all"
        truncate=body.truncate is not False,
        keep_alive_s=parse_keep_alive_s(body.keep_alive),
        is_partial_ok=bool(body.partial_results),
    )


def render_embed(model: str, result: EmbedResult) -> bytes | Iterator[bytes]:
    """Returns the body of POST /api/embed, in pieces if large. `model` is spelled as the request did."""
    head = b'{"model":%b,"embeddings":' % msgspec.json.encode(model)
    tail = b",%b}" % timings(result)
    failed = {item.index for item in result.failed}
    if is_small(result.vectors):
        return head + _rows(result.vectors, 0, failed) + tail
    return _pieces(head, result, failed, tail)


def _pieces(head: bytes, result: EmbedResult, failed: set[int], tail: bytes) -> Iterator[bytes]:
    separator, first = head + b"[", 0
    for block in blocks(result.vectors):
        # Each block's own brackets go; a comma joins it to the one before.
        yield separator + _rows(block, first, failed)[1:-1]
        separator, first = b",", first + len(block)
    yield b"]" + tail


def _rows(vectors: NDArray[np.float32], first: int, failed: set[int]) -> bytes:
    if not failed:
        return json_rows(vectors)
    rows = json_row_list(vectors)
    return b"[%b]" % b",".join(b"null" if first + n in failed else row for n, row in enumerate(rows))


def parse_embeddings(body: EmbeddingsBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request of the older form, whose vectors Ollama does not normalise."""
    inputs = [body.prompt or ""]
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model, inputs=inputs, normalize=False, keep_alive_s=parse_keep_alive_s(body.keep_alive)
    )


def render_embeddings(result: EmbedResult) -> bytes:
    """Returns the body of POST /api/embeddings."""
    return b'{"embedding":%b}' % json_rows(result.vectors)[1:-1]
