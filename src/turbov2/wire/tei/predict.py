"""POST /predict: pairs of texts → their scores under a reranker's one label. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from turbov2.errors import EmptyInput, InvalidRequest, NotCapable
from turbov2.types import RerankRequest, RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._inputs import check_texts
from turbov2.wire._ranking import score_texts, whole_or_pieces
from turbov2.wire._tei import check_batch, check_direction
from turbov2.wire.tei.schema import Pairs, PredictBody


def parse_predict(body: PredictBody, model: str, limits: Limits) -> tuple[list[str], RerankRequest]:
    """Returns the first texts, one for each of the documents, and the request without a query.

    Raises: NotCapable for single texts, which only a text classifier labels; EmptyInput, BodyTooLarge.
    """
    pairs = _pairs(body.inputs)
    check_batch(len(pairs), limits)
    check_direction(body.truncation_direction)
    for index, pair in enumerate(pairs):
        if not any(pair):
            raise EmptyInput(f"`inputs` cannot be empty: input {index} is", param="inputs")
        if len(pair) != 2:
            raise NotCapable(
                f"input {index} has {len(pair)} texts, but model '{model}' scores pairs: send [query, text]",
                param="inputs",
            )
    firsts, seconds = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    check_texts(firsts, limits, "inputs")
    check_texts(seconds, limits, "inputs")
    asked = RerankRequest(model, "", seconds, is_normalized=not body.raw_scores, truncate=bool(body.truncate))
    return firsts, asked


def is_single(inputs: Pairs) -> bool:
    """Returns whether one text or one pair was sent, not a list of them."""
    return isinstance(inputs, str) or (bool(inputs) and isinstance(inputs[0], str))


def _pairs(inputs: Pairs) -> list[list[str]]:
    if isinstance(inputs, str):
        return [[inputs]]
    if not inputs:
        raise EmptyInput("`inputs` cannot be empty", param="inputs")
    if all(isinstance(item, str) for item in inputs):
        return [cast("list[str]", inputs)]
    if any(isinstance(item, str) for item in inputs):
        raise InvalidRequest(
            "inputs mixes texts and lists: send one pair, or a list of pairs", param="inputs"
        )
    return cast("list[list[str]]", inputs)


def render_predict(result: RerankResult, *, is_single: bool) -> bytes | Iterator[bytes]:
    """Returns the body: for each pair an array with its one label, without the outer array for one pair."""
    rows = [b'[{"label":"LABEL_0","score":%b}]' % score for score in score_texts(result.scores)]
    if is_single:
        return rows[0]
    return whole_or_pieces(_listed(rows), len(rows))


def _listed(rows: list[bytes]) -> Iterator[bytes]:
    separator = b"["
    for row in rows:
        yield separator + row
        separator = b","
    yield b"]"
