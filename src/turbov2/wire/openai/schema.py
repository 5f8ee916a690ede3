"""Bodies OpenAI's clients send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class EmbeddingsBody(msgspec.Struct):
    """POST /v1/embeddings. `input_type` is Voyage's field: "query" puts the model's query prompt in front.

    `partial_results` is ours: inputs that fail alone come with an `error` beside the others' vectors.
    """

    model: str | None = None
    input: str | list[str | TokenId | list[TokenId]] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: Literal["query", "document"] | None = None
    partial_results: bool | None = None
