"""Bodies OpenAI's clients send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from turbov2.wire._encoding import Dtype

TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class EmbeddingsBody(msgspec.Struct):
    """POST /v1/embeddings of OpenAI, Voyage and Jina.

    `input_type` and `task` choose the model's prompt. `partial_results` is ours:
    inputs that fail alone come with an `error` beside the others' vectors.
    """

    model: str | None = None
    input: str | list[str | TokenId | list[TokenId]] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: Literal["query", "document"] | None = None  # this and the next three are Voyage's
    truncation: bool | None = None
    output_dimension: int | None = None
    output_dtype: Dtype | None = None
    task: str | None = None  # this and the next are Jina's
    late_chunking: bool | None = None
    partial_results: bool | None = None
