"""vLLM's score bodies → pairs of texts, their scores → its body. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from turbov2.errors import EmptyInput, InvalidRequest
from turbov2.types import RerankRequest, RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._ranking import score_texts, whole_or_pieces
from turbov2.wire.rerank.schema import ScoreBody, Texts


def parse_score(body: ScoreBody, model: str, limits: Limits) -> tuple[list[str], RerankRequest]:
    """Returns the first texts, one for each of the documents, and the request without a query.

    Raises: InvalidRequest unless the two sides count 1 to N or N to N; EmptyInput.
    """
    first_name, first, second_name, second = _sides(body)
    check_texts(first, limits, first_name)
    check_texts(second, limits, second_name)
    if len(first) not in (1, len(second)):
        raise InvalidRequest(
            f"{first_name} has {len(first)} texts and {second_name} {len(second)}: send 1 to N, or N to N",
            param=first_name,
        )
    firsts = first * len(second) if len(first) == 1 else first
    asked = RerankRequest(
        model,
        "",
        second,
        instruction=body.instruction or "",
        is_normalized=body.use_activation is not False,
    )
    return firsts, asked


def _sides(body: ScoreBody) -> tuple[str, list[str], str, list[str]]:
    for first_name, second_name in (
        ("text_1", "text_2"),
        ("queries", "documents"),
        ("queries", "items"),
        ("data_1", "data_2"),
    ):
        first, second = getattr(body, first_name), getattr(body, second_name)
        if first is not None and second is not None:
            return first_name, _listed(first, first_name), second_name, _listed(second, second_name)
    raise InvalidRequest(
        "two sides are required: text_1 and text_2, or queries and documents", param="text_1"
    )


def _listed(texts: Texts, name: str) -> list[str]:
    if not texts and isinstance(texts, list):
        raise EmptyInput(f"{name} is empty: send at least one text", param=name)
    return [texts] if isinstance(texts, str) else texts


def render_score(request_id: str, model: str, result: RerankResult, usage: bytes) -> bytes | Iterator[bytes]:
    """Returns the body of POST /score: scores in the order of the pairs."""

    def fragments() -> Iterator[bytes]:
        yield b'{"id":%b,"object":"list","created":%d,"model":%b,"data":[' % (
            msgspec.json.encode(request_id),
            time.time(),
            msgspec.json.encode(model),
        )
        yield from _rows(score_texts(result.scores))
        yield b'],"usage":%b}' % usage

    return whole_or_pieces(fragments(), len(result.scores))


def _rows(scores: Sequence[bytes]) -> Iterator[bytes]:
    separator = b""
    for index, score in enumerate(scores):
        yield b'%b{"index":%d,"object":"score","score":%b}' % (separator, index, score)
        separator = b","
