"""Ollama bodies → canonical requests, results → Ollama bodies. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.types import EmbedRequest, EmbedResult, OutputKind
from turbov2.wire._encoding import Encoding
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._outputs import sparse_rows, token_rows
from turbov2.wire._prompts import parse_prompt_name
from turbov2.wire._timings import timings
from turbov2.wire._vectors import blocks, is_small, json_rows
from turbov2.wire.ollama.schema import EmbedBody, EmbeddingsBody

_FLOATS = Encoding()


def embed_inputs(body: EmbedBody) -> Sequence[str]:
    """Returns the texts; none when the request only loads or unloads."""
    if isinstance(body.input, str):
        return [body.input] if body.input else []
    return body.input or []


def parse_embed(body: EmbedBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request. Raises: InvalidRequest."""
    inputs = embed_inputs(body)
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model,
        inputs=inputs,
        input_type=body.input_type or parse_prompt_name(body.prompt_name),
        dimensions=body.dimensions or None,  # 0 is Ollama's "all"
        truncate=body.truncate is not False,
        keep_alive_s=parse_keep_alive_s(body.keep_alive),
        is_partial_ok=bool(body.partial_results),
        outputs=tuple(dict.fromkeys(body.outputs or ("dense",))),
        windows=bool(body.windows),
    )


def render_embed(
    model: str,
    result: EmbedResult,
    outputs: Sequence[OutputKind] = ("dense",),
    encoding: Encoding = _FLOATS,
) -> bytes | Iterator[bytes]:
    """Returns the body of POST /api/embed, in pieces if large. `model` is spelled as the request did."""
    head = b'{"model":%b' % msgspec.json.encode(model)
    tail = b",%b%b}" % (timings(result), _windows(result))
    failed = {item.index for item in result.failed}
    if tuple(outputs) == ("dense",) and is_small(result.vectors):
        return b'%b,"embeddings":%b%b' % (head, _rows(result.vectors, 0, failed, encoding), tail)
    return _pieces(head, result, outputs, failed, encoding, tail)


def _windows(result: EmbedResult) -> bytes:
    """Returns, by input, how many windows made its vector; nothing where none was asked for or needed."""
    return b',"windows":%b' % msgspec.json.encode(result.n_windows) if result.n_windows else b""


def _pieces(
    head: bytes,
    result: EmbedResult,
    outputs: Sequence[OutputKind],
    failed: set[int],
    encoding: Encoding,
    tail: bytes,
) -> Iterator[bytes]:
    yield head
    if "dense" in outputs:
        separator, first = b',"embeddings":[', 0
        for block in blocks(result.vectors):
            # Each block's own brackets go; a comma joins it to the one before.
            yield separator + _rows(block, first, failed, encoding)[1:-1]
            separator, first = b",", first + len(block)
        yield b"]"
    if result.sparse is not None:
        rows = (b'{"indices":%b,"values":%b}' % pair for pair in sparse_rows(result.sparse))
        yield from _array(b"sparse_embeddings", rows)
    if result.tokens is not None:
        yield from _array(b"token_embeddings", token_rows(result.tokens))
    yield tail


def _array(name: bytes, rows: Iterator[bytes]) -> Iterator[bytes]:
    separator = b',"%b":[' % name
    for row in rows:
        yield separator + row
        separator = b","
    yield b"]"


def _rows(vectors: NDArray[np.float32], first: int, failed: set[int], encoding: Encoding) -> bytes:
    if not failed and encoding == _FLOATS:
        return json_rows(vectors)
    rows = encoding.rows(vectors)
    return b"[%b]" % b",".join(b"null" if first + n in failed else row for n, row in enumerate(rows))


def parse_embeddings(body: EmbeddingsBody, model: str, limits: Limits) -> EmbedRequest:
    """Returns the canonical request of the older form, whose vectors Ollama does not normalise."""
    inputs = [body.prompt or ""]
    check_texts(inputs, limits)
    return EmbedRequest(
        model=model, inputs=inputs, normalize=False, keep_alive_s=parse_keep_alive_s(body.keep_alive)
    )


def render_embeddings(result: EmbedResult) -> bytes:
    """Returns the body of POST /api/embeddings."""
    return b'{"embedding":%b}' % json_rows(result.vectors)[1:-1]
