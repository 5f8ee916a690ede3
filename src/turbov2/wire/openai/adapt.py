"""OpenAI bodies → canonical requests, results → OpenAI bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.types import EmbedRequest, EmbedResult, ItemError
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts, parse_inputs
from turbov2.wire._vectors import base64_row, blocks, is_small, json_row_list
from turbov2.wire.openai.schema import EmbeddingsBody


def parse_embeddings(body: EmbeddingsBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest."""
    inputs = parse_inputs(body.input, "input")
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=body.input_type or "document",
        dimensions=body.dimensions,
        must_be_matryoshka=True,
        truncate=False,  # OpenAI refuses what is too long
        is_partial_ok=bool(body.partial_results),
    )


def render_embeddings(model: str, result: EmbedResult, is_base64: bool) -> bytes | Iterator[bytes]:
    """Returns the body of POST /v1/embeddings, in pieces when it is large."""
    head = b'{"object":"list","data":['
    tail = b'],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        msgspec.json.encode(model),
        result.n_tokens,
        result.n_tokens,
    )
    failed = {item.index: _failure(item) for item in result.failed}
    if is_small(result.vectors):
        return head + _rows(result.vectors, 0, is_base64, failed) + tail
    return _pieces(head, result, is_base64, failed, tail)


def _pieces(
    head: bytes, result: EmbedResult, is_base64: bool, failed: dict[int, bytes], tail: bytes
) -> Iterator[bytes]:
    separator, first = head, 0
    for block in blocks(result.vectors):
        yield separator + _rows(block, first, is_base64, failed)
        separator, first = b",", first + len(block)
    yield tail


def _rows(vectors: NDArray[np.float32], first: int, is_base64: bool, failed: dict[int, bytes]) -> bytes:
    values = [b'"%b"' % base64_row(row) for row in vectors] if is_base64 else json_row_list(vectors)
    rows = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % (first + n, value)
        for n, value in enumerate(values)
    ]
    for index, failure in failed.items():
        if first <= index < first + len(rows):
            rows[index - first] = failure
    return b",".join(rows)


def _failure(item: ItemError) -> bytes:
    """Returns the row of an input that has no vector; ours, only for who asked for `partial_results`."""
    error = {"message": item.message, "type": "server_error", "param": "input", "code": item.code}
    return msgspec.json.encode(
        {"object": "embedding", "index": item.index, "embedding": None, "error": error}
    )
