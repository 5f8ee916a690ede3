"""OpenAI bodies → canonical requests, results → OpenAI bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.errors import NotSupported
from turbov2.types import EmbedRequest, EmbedResult, ItemError
from turbov2.types.embed import InputType
from turbov2.wire._encoding import Encoding
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts, parse_inputs
from turbov2.wire._vectors import blocks, is_small
from turbov2.wire.openai.schema import EmbeddingsBody


def parse_embeddings(body: EmbeddingsBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest, EmptyInput, NotSupported."""
    if body.late_chunking:
        raise NotSupported("late_chunking is not supported: each input is embedded by itself; leave it out")
    inputs = parse_inputs(body.input, "input")
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=_input_type(body),
        dimensions=body.dimensions if body.dimensions is not None else body.output_dimension,
        must_be_matryoshka=True,
        truncate=body.truncation
        is True,  # OpenAI refuses what is too long; Voyage's client says what it wants
        is_partial_ok=bool(body.partial_results),
    )


def _input_type(body: EmbeddingsBody) -> InputType:
    """Returns the side of a search the inputs are on, as Voyage or Jina says it."""
    if body.input_type is not None:
        return body.input_type
    # Jina's tasks for queries: retrieval.query, nl2code.query and so on.
    return "query" if body.task is not None and body.task.endswith(".query") else "document"


def parse_encoding(body: EmbeddingsBody) -> Encoding:
    """Returns how the vectors are wanted: Voyage's base64 may be of any dtype."""
    return Encoding(body.output_dtype or "float", body.encoding_format == "base64")


def render_embeddings(model: str, result: EmbedResult, encoding: Encoding) -> bytes | Iterator[bytes]:
    """Returns the body of POST /v1/embeddings, in pieces when it is large."""
    head = b'{"object":"list","data":['
    tail = b'],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        msgspec.json.encode(model),
        result.n_tokens,
        result.n_tokens,
    )
    failed = {item.index: _failure(item) for item in result.failed}
    if is_small(result.vectors):
        return head + _rows(result.vectors, 0, encoding, failed) + tail
    return _pieces(head, result, encoding, failed, tail)


def _pieces(
    head: bytes, result: EmbedResult, encoding: Encoding, failed: dict[int, bytes], tail: bytes
) -> Iterator[bytes]:
    separator, first = head, 0
    for block in blocks(result.vectors):
        yield separator + _rows(block, first, encoding, failed)
        separator, first = b",", first + len(block)
    yield tail


def _rows(vectors: NDArray[np.float32], first: int, encoding: Encoding, failed: dict[int, bytes]) -> bytes:
    rows = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % (first + n, value)
        for n, value in enumerate(encoding.rows(vectors))
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
