"""From the scores of a query's documents to the ranked rows that every rerank wire answers with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import orjson

from turbov2.errors import EmptyInput, InvalidRequest
from turbov2.types import RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts

if TYPE_CHECKING:
    from turbov2.types.embed import FloatVector

_PIECE_ROWS = 256  # under a millisecond of formatting: so long may one piece hold the event loop


class Document(msgspec.Struct):
    """A document sent as an object: `text` is ranked, what stands beside it is ignored."""

    text: str


def parse_query(query: str | None, limits: Limits) -> str:
    """Returns the query. Raises: InvalidRequest, EmptyInput."""
    if query is None:
        raise InvalidRequest("query is required: the text that documents are ranked for", param="query")
    if not query.strip():
        raise EmptyInput("query is empty: send the text that documents are ranked for", param="query")
    if len(query) > limits.max_text_chars:
        raise InvalidRequest(
            f"query has {len(query)} characters, the limit is {limits.max_text_chars}; shorten it "
            "or raise TURBOV2_MAX_TEXT_CHARS",
            param="query",
        )
    return query


def parse_documents(documents: Sequence[str | Document] | None, limits: Limits) -> list[str]:
    """Returns the texts to rank, which may be none. Raises: InvalidRequest."""
    if documents is None:
        raise InvalidRequest("documents is required: a list of texts", param="documents")
    texts = [document if isinstance(document, str) else document.text for document in documents]
    check_texts(texts, limits, "documents")
    return texts


def parse_top_n(top_n: int | None, field: str) -> int | None:
    """Returns how many results are wanted at most, None for all, as does 0. Raises: InvalidRequest."""
    if top_n is not None and top_n < 0:
        raise InvalidRequest(f"{field} is {top_n}, expected at least 1, or 0 for all", param=field)
    return top_n or None


def best_first(result: RerankResult, top_n: int | None) -> list[int]:
    """Returns the documents' indices, best first, at most `top_n`; equal scores keep the documents' order.

    Documents that failed are left out.
    """
    order = np.argsort(-result.scores, kind="stable").tolist()
    failed = {item.index for item in result.failed}
    return [index for index in order if index not in failed][:top_n]


def score_texts(scores: FloatVector) -> list[bytes]:
    """Returns each score as a JSON number."""
    return orjson.dumps(scores, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def ranked_rows(
    result: RerankResult, top_n: int | None, score_name: bytes, extra: Callable[[int], bytes]
) -> Iterator[bytes]:
    """Yields the JSON objects of the ranked documents, joined by commas.

    `extra` gives the fields between a document's index and its score, with a comma in front.
    """
    scores = score_texts(result.scores)
    separator = b""
    for index in best_first(result, top_n):
        yield b'%b{"index":%d%b,"%b":%b}' % (separator, index, extra(index), score_name, scores[index])
        separator = b","


def whole_or_pieces(fragments: Iterator[bytes], n_rows: int) -> bytes | Iterator[bytes]:
    """Returns the body made of these fragments: in one go if it has few rows, else in pieces."""
    if n_rows <= _PIECE_ROWS:
        return b"".join(fragments)
    return (b"".join(piece) for piece in _batches(fragments))


def _batches(fragments: Iterator[bytes]) -> Iterator[tuple[bytes, ...]]:
    while piece := tuple(itertools.islice(fragments, _PIECE_ROWS)):
        yield piece
