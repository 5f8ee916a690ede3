"""Bodies that the clients of six servers send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

import msgspec

from turbov2.wire._ranking import Document

Texts = str | list[str]


class Shape(msgspec.Struct):
    """What tells TEI's body from all others, unparsed."""

    texts: msgspec.Raw = msgspec.Raw(b"null")


class RerankBody(msgspec.Struct):
    """POST /rerank, /v1/rerank and /v2/rerank of Cohere, Jina, Voyage, vLLM and Infinity."""

    model: str | None = None
    query: str | None = None
    documents: list[str | Document] | None = None
    return_documents: bool | None = None
    instruction: str | None = None  # ours
    top_n: int | None = None
    top_k: int | None = None  # Voyage's name for it
    truncation: bool | None = None  # Voyage's
    raw_scores: bool | None = None  # Infinity's
    use_activation: bool | None = None  # vLLM's opposite of it
    truncate_prompt_tokens: int | None = None  # vLLM's
    rank_fields: list[str] | None = None  # Cohere's first version


class TeiRerankBody(msgspec.Struct):
    """POST /rerank of text-embeddings-inference."""

    query: str
    texts: list[str]
    raw_scores: bool | None = None
    return_text: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None


class ScoreBody(msgspec.Struct):
    """POST /score and /v1/score of vLLM, which names the two sides in four ways."""

    model: str | None = None
    text_1: Texts | None = None
    text_2: Texts | None = None
    queries: Texts | None = None
    documents: Texts | None = None
    items: Texts | None = None
    data_1: Texts | None = None
    data_2: Texts | None = None
    use_activation: bool | None = None
    instruction: str | None = None  # ours
