"""Bodies that the clients of text-embeddings-inference send. Unknown fields are ignored, null is "not given".

Field by field: router/src/http/types.rs of huggingface/text-embeddings-inference.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Pairs = str | list[str | list[str]]


class EmbedBody(msgspec.Struct):
    """POST /embed, /embed_all, /embed_sparse, / and /invocations."""

    inputs: str | list[str | TokenId | list[TokenId]]
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: str | None = None
    dimensions: int | None = None


class PredictBody(msgspec.Struct):
    """POST /predict: a text, a pair of texts, or a list of either in lists."""

    inputs: Pairs
    raw_scores: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None


class SimilarityInputs(msgspec.Struct):
    """A text and those it is compared with."""

    source_sentence: str
    sentences: list[str]


class SimilarityParameters(msgspec.Struct):
    """How the texts of a comparison are read."""

    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: str | None = None


class SimilarityBody(msgspec.Struct):
    """POST /similarity."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None
