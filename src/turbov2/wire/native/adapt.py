"""Our own bodies → canonical requests, results → our own bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from turbov2.types import RerankRequest, RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._ranking import parse_documents, parse_query, parse_top_n, ranked_rows, whole_or_pieces
from turbov2.wire._timings import timings
from turbov2.wire.native.schema import RerankBody


def parse_rerank(body: RerankBody, model: str, limits: Limits) -> RerankRequest:
    """Returns the canonical request; scores are as the model gives them unless asked otherwise.

    Raises: InvalidRequest, EmptyInput for a query without text.
    """
    is_normalized = body.raw_scores is False if body.normalize is None else body.normalize
    return RerankRequest(
        model,
        parse_query(body.query, limits),
        parse_documents(body.documents, limits),
        instruction=body.instruction or "",
        is_normalized=is_normalized,
        truncate=body.truncate is not False,
        keep_alive_s=parse_keep_alive_s(body.keep_alive),
        is_partial_ok=bool(body.partial_results),
    )


def parse_top(body: RerankBody) -> int | None:
    """Returns how many results are wanted at most, None for all. Raises: InvalidRequest."""
    if body.top_n is not None:
        return parse_top_n(body.top_n, "top_n")
    return parse_top_n(body.top_k, "top_k")


def render_rerank(
    model: str, documents: Sequence[str], result: RerankResult, top_n: int | None, *, has_documents: bool
) -> bytes | Iterator[bytes]:
    """Returns the body of POST /api/rerank, best document first. `model` is spelled as the request did."""

    def fragments() -> Iterator[bytes]:
        yield b'{"model":%b,"results":[' % msgspec.json.encode(model)
        yield from ranked_rows(result, top_n, b"relevance_score", document)
        cut = b',"query_truncated":true' if result.is_query_truncated else b""
        yield b"],%b%b}" % (timings(result), cut)

    def document(index: int) -> bytes:
        return b',"document":%b' % msgspec.json.encode(documents[index]) if has_documents else b""

    return whole_or_pieces(fragments(), len(documents))
