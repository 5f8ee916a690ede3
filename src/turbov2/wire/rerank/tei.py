"""The rerank body of text-embeddings-inference → canonical request, result → its bare array. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from turbov2.errors import EmptyInput
from turbov2.types import RerankRequest, RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._ranking import parse_query, ranked_rows, whole_or_pieces
from turbov2.wire._tei import check_batch, check_direction
from turbov2.wire.rerank.schema import TeiRerankBody


def parse_rerank(body: TeiRerankBody, model: str, limits: Limits) -> RerankRequest:
    """Returns the canonical request. Raises: InvalidRequest, EmptyInput, BodyTooLarge."""
    if not body.texts:
        raise EmptyInput("`texts` cannot be empty", param="texts")
    check_batch(len(body.texts), limits)
    check_texts(body.texts, limits, "texts")
    check_direction(body.truncation_direction)
    return RerankRequest(
        model,
        parse_query(body.query, limits),
        body.texts,
        is_normalized=not body.raw_scores,
        truncate=bool(body.truncate),
    )


def render_rerank(asked: RerankRequest, result: RerankResult, *, has_texts: bool) -> bytes | Iterator[bytes]:
    """Returns the array of ranks, best first."""

    def text(index: int) -> bytes:
        return b',"text":%b' % msgspec.json.encode(asked.documents[index]) if has_texts else b""

    def fragments() -> Iterator[bytes]:
        yield b"["
        yield from ranked_rows(result, None, b"score", text)
        yield b"]"

    return whole_or_pieces(fragments(), len(asked.documents))
