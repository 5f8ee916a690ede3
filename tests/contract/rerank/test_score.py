"""POST /score and /v1/score in the manner of vLLM."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, REAL, Embed, RunningServer, openai_error

FIRSTS = ["cats", "money", "cats"]
SECONDS = ["A cat sleeps.", "The market fell.", "Banks lend money."]


def score(server: RunningServer, path: str = "/score", **fields: Any) -> httpx.Response:
    return server.http.post(path, json={"model": REAL, **fields})


def scores_of(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert {row["object"] for row in rows} <= {"score"}
    return [row["score"] for row in rows]


def wanted(unit_vectors: Embed, firsts: list[str], seconds: list[str]) -> list[float]:
    rows = np.einsum("ij,ij->i", unit_vectors(firsts), unit_vectors(seconds))
    return list((1 + rows) / 2)


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_one_to_many(server: RunningServer, unit_vectors: Embed, path: str) -> None:
    answer = score(server, path, text_1="cats", text_2=SECONDS)
    assert scores_of(answer) == pytest.approx(wanted(unit_vectors, ["cats"] * 3, SECONDS), abs=1e-6)
    body = answer.json()
    assert set(body) == {"id", "object", "created", "model", "data", "usage"}
    assert (body["object"], body["model"]) == ("list", REAL)
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")]
)
def test_many_to_many_under_each_name(
    server: RunningServer, unit_vectors: Embed, names: tuple[str, str]
) -> None:
    answer = score(server, **{names[0]: FIRSTS, names[1]: SECONDS})
    assert scores_of(answer) == pytest.approx(wanted(unit_vectors, FIRSTS, SECONDS), abs=1e-6)


def test_one_to_one_and_a_list_of_one(server: RunningServer) -> None:
    one = scores_of(score(server, text_1="cats", text_2="A cat sleeps."))
    assert len(one) == 1
    assert scores_of(score(server, text_1=["cats"], text_2=["A cat sleeps."])) == one
    assert scores_of(score(server, text_1=["cats"], text_2=SECONDS))[:1] == pytest.approx(one)


def test_raw_scores(server: RunningServer) -> None:
    squashed = scores_of(score(server, text_1="cats", text_2=SECONDS))
    raw = scores_of(score(server, text_1="cats", text_2=SECONDS, use_activation=False))
    assert raw == pytest.approx([2 * value - 1 for value in squashed], abs=1e-6)


def test_a_thousand_pairs(server: RunningServer) -> None:
    firsts = [f"query {n}" for n in range(1000)]
    scores = scores_of(score(server, text_1=firsts, text_2=firsts))
    assert scores == pytest.approx([1.0] * 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, 400, "two sides are required"),
        ({"text_1": "a"}, 400, "two sides are required"),
        ({"text_1": "a", "documents": "b"}, 400, "two sides are required"),
        ({"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, 400, "text_1 has 2 texts and text_2 3"),
        ({"queries": ["a", "b"], "documents": "c"}, 400, "queries has 2 texts and documents 1"),
        ({"text_1": [], "text_2": "a"}, 400, "text_1 is empty: send at least one text"),
        ({"text_1": "a", "text_2": []}, 400, "text_2 is empty: send at least one text"),
        ({"text_1": "a", "text_2": [1]}, 400, "text_2[0]: Expected `str`, got `int`"),
        ({"text_1": "a", "text_2": "b", "model": "nope"}, 404, "model 'nope' not found"),
        ({"text_1": ["a", "b"], "text_2": ["c", "fail-now"], "model": FAKE}, 500, "told to fail on"),
        ({"text_1": "a", "text_2": ["b"] * 32_769}, 400, "text_2 has 32769 texts, the limit is 32768"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, Any], status: int, message: str) -> None:
    for path in ("/score", "/v1/score"):
        assert message in openai_error(score(server, path, **fields), status)["message"]
