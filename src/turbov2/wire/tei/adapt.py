"""Embedding bodies of text-embeddings-inference → canonical requests, results → its bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson

from turbov2.errors import EmptyInput
from turbov2.types import EmbedRequest, EmbedResult, Inputs, OutputKind, SparseRows, TokenVectors
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts, parse_inputs
from turbov2.wire._outputs import sparse_rows, token_rows
from turbov2.wire._prompts import parse_prompt_name
from turbov2.wire._tei import check_batch, check_direction
from turbov2.wire._vectors import blocks, is_small, json_rows
from turbov2.wire.tei.schema import EmbedBody, SimilarityBody, SimilarityParameters


def parse_embed(body: EmbedBody, model: str, limits: Limits, output: OutputKind) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest, EmptyInput, BodyTooLarge."""
    inputs = parse_inputs(body.inputs, "inputs")
    _check(inputs, limits, body.truncation_direction)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=parse_prompt_name(body.prompt_name),
        dimensions=body.dimensions,
        must_be_matryoshka=True,
        normalize=body.normalize is not False,
        truncate=bool(body.truncate),
        outputs=(output,),
    )


def _check(inputs: Inputs, limits: Limits, direction: str | None) -> None:
    check_batch(len(inputs), limits)
    check_texts(inputs, limits, "inputs")
    check_direction(direction)
    if not all(inputs):
        index = next(index for index, text in enumerate(inputs) if not text)
        raise EmptyInput(f"`inputs` cannot be empty: input {index} is", param="inputs")


def render_embed(result: EmbedResult) -> bytes | Iterator[bytes]:
    """Returns the body of POST /embed: an array of vectors, also for one text."""
    if is_small(result.vectors):
        return json_rows(result.vectors)
    return _pieces(result)


def _pieces(result: EmbedResult) -> Iterator[bytes]:
    separator = b"["
    for block in blocks(result.vectors):
        # Each block's own brackets go; a comma joins it to the one before.
        yield separator + json_rows(block)[1:-1]
        separator = b","
    yield b"]"


def render_embed_all(tokens: TokenVectors) -> Iterator[bytes]:
    """Yields the body of POST /embed_all: for each input an array of its tokens' vectors."""
    separator = b"["
    for row in token_rows(tokens):
        yield separator + row
        separator = b","
    yield b"]"


def render_embed_sparse(sparse: SparseRows) -> Iterator[bytes]:
    """Yields the body of POST /embed_sparse: for each input an array of `{"index", "value"}`."""
    separator = b"["
    for ids, weights in sparse_rows(sparse):
        pairs = zip(ids[1:-1].split(b","), weights[1:-1].split(b","), strict=True) if ids != b"[]" else ()
        yield separator + b"[%b]" % b",".join(b'{"index":%b,"value":%b}' % pair for pair in pairs)
        separator = b","
    yield b"]"


def parse_similarity(body: SimilarityBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the request for the source's vector and, after it, the sentences'.

    Raises: InvalidRequest, EmptyInput, BodyTooLarge.
    """
    if not body.inputs.sentences:
        raise EmptyInput("`inputs.sentences` cannot be empty", param="inputs")
    parameters = body.parameters or SimilarityParameters()
    inputs = [body.inputs.source_sentence, *body.inputs.sentences]
    _check(inputs, limits, parameters.truncation_direction)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=parse_prompt_name(parameters.prompt_name),
        truncate=bool(parameters.truncate),
    )


def render_similarity(result: EmbedResult) -> bytes:
    """Returns the body of POST /similarity: the cosine of the first vector with each of the others."""
    cosines = np.clip(result.vectors[1:] @ result.vectors[0], -1, 1)  # rounding passes 1 by a hair
    return orjson.dumps(cosines, option=orjson.OPT_SERIALIZE_NUMPY)
