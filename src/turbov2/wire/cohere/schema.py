"""The body Cohere's clients send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Literal

import msgspec

from turbov2.wire._encoding import Format

InputKind = Literal["search_query", "search_document", "classification", "clustering"]


class EmbedBody(msgspec.Struct):
    """POST /v2/embed."""

    model: str | None = None
    texts: list[str] | None = None
    input_type: InputKind | None = None
    embedding_types: list[Format] | None = None
    output_dimension: int | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
