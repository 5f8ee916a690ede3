"""What every route in the manner of text-embeddings-inference checks and tells."""

from __future__ import annotations

from turbov2.errors import BodyTooLarge, InvalidRequest
from turbov2.types import EmbedResult, RerankResult
from turbov2.wire._http import Limits


def check_batch(n_texts: int, limits: Limits) -> None:
    """Raises: BodyTooLarge for more texts than one request may have, which TEI answers 413."""
    if n_texts > limits.max_texts:
        raise BodyTooLarge(
            f"batch size {n_texts} > maximum allowed batch size {limits.max_texts}; split the request "
            "or raise TURBOV2_MAX_TEXTS"
        )


def check_direction(direction: str | None) -> None:
    """Raises: InvalidRequest for any truncation but at the end of a text."""
    if direction is not None and direction.lower() != "right":
        raise InvalidRequest(
            f"truncation_direction is '{direction[:20]}', expected 'right': texts are cut at their end",
            param="truncation_direction",
        )


def timing_headers(result: EmbedResult | RerankResult, n_chars: int) -> list[tuple[bytes, bytes]]:
    """Returns TEI's headers on where the time went, in whole milliseconds as there."""
    values = {
        b"x-compute-time": result.total_ns // 1_000_000,
        b"x-compute-characters": n_chars,
        b"x-compute-tokens": result.n_tokens,
        b"x-total-time": result.total_ns // 1_000_000,
        b"x-tokenization-time": result.tokenize_ns // 1_000_000,
        b"x-queue-time": result.queue_ns // 1_000_000,
        b"x-inference-time": result.inference_ns // 1_000_000,
    }
    return [(name, b"%d" % value) for name, value in values.items()]
