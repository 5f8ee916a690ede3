"""Bodies of our own routes. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

import msgspec

from turbov2.wire._keep_alive import KeepAlive
from turbov2.wire._ranking import Document


class RerankBody(msgspec.Struct):
    """POST /api/rerank. `top_n` and `top_k` mean the same; `raw_scores` is the opposite of `normalize`."""

    model: str | None = None
    query: str | None = None
    documents: list[str | Document] | None = None
    instruction: str | None = None
    top_n: int | None = None
    top_k: int | None = None
    normalize: bool | None = None
    raw_scores: bool | None = None
    return_documents: bool | None = None
    truncate: bool | None = None
    keep_alive: KeepAlive = None
    partial_results: bool | None = None
