"""Cohere's embed body → canonical request, result → its body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from turbov2.errors import EmptyInput, InvalidRequest, NotSupported
from turbov2.types import EmbedRequest, EmbedResult
from turbov2.wire._encoding import Format, encoding_of
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._vectors import blocks, is_small
from turbov2.wire.cohere.schema import EmbedBody


def parse_embed(body: EmbedBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest, EmptyInput, NotSupported."""
    if body.texts is None:
        raise InvalidRequest("texts is required: a list of texts, no images", param="texts")
    if not body.texts:
        raise EmptyInput("texts is empty: send at least one text", param="texts")
    check_texts(body.texts, limits, "texts")
    if body.truncate == "START":
        raise NotSupported("truncate is 'START', but texts are cut at their end: send 'END' or 'NONE'")
    return EmbedRequest(
        model=model,
        inputs=body.texts,
        input_type="query" if body.input_type == "search_query" else "document",
        dimensions=body.output_dimension,
        must_be_matryoshka=True,
        truncate=body.truncate != "NONE",
    )


def render_embed(
    request_id: str, asked: EmbedRequest, result: EmbedResult, types: Sequence[Format]
) -> bytes | Iterator[bytes]:
    """Returns the body of POST /v2/embed: all vectors once for each of the types, in pieces if large."""
    fragments = _fragments(request_id, asked, result, types)
    return b"".join(fragments) if is_small(result.vectors) else fragments


def _fragments(
    request_id: str, asked: EmbedRequest, result: EmbedResult, types: Sequence[Format]
) -> Iterator[bytes]:
    yield b'{"response_type":"embeddings_by_type","id":%b,"embeddings":{' % msgspec.json.encode(request_id)
    comma = b""
    for name in dict.fromkeys(types):
        separator, encoding = b'%b"%b":[' % (comma, name.encode()), encoding_of(name)
        for block in blocks(result.vectors):
            yield separator + b",".join(encoding.rows(block))
            separator = b","
        comma = b"],"
    yield b']},"texts":%b,' % msgspec.json.encode(asked.inputs)
    yield b'"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":%d}}}' % result.n_tokens
