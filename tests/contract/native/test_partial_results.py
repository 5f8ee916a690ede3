"""`partial_results`: inputs that fail alone are reported beside the others' vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pybase64
import pytest
from numpy.typing import NDArray

from tests.support.server import RunningServer, ask, error_text, fake_model
from turbov2.backends.fake import vectors_of

NAMES = {"inline": "fake-inline", "thread": "fake-thread", "process": "fake-process"}
WIDE, N_WIDE = "fake-wide", 1024  # 64 rows of it are as much as one piece of an answer holds
INPUTS = ["fine", "please FAIL", "good", "a NAN", "very good"]
BAD = {1: "inference_failed", 3: "not_finite"}
PATHS = ["/api/embed", "/v1/embeddings"]
runners = pytest.mark.parametrize("model", NAMES.values())


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("faulty")
    models = [
        fake_model(name, folder, runner=runner, max_tokens=8, fail_on="FAIL", nan_on="NAN")
        for runner, name in NAMES.items()
    ]
    models.append(fake_model(WIDE, folder, runner="thread", dimensions=N_WIDE, fail_on="FAIL", nan_on="NAN"))
    with RunningServer(folder, models="\n".join(models)) as server:
        yield server


def unit(texts: list[str], dimensions: int = 8) -> NDArray[np.float32]:
    vectors = vectors_of(texts, dimensions=dimensions)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def openai_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows, after checking what all of them have."""
    assert [row["index"] for row in body["data"]] == list(range(len(body["data"])))
    assert {row["object"] for row in body["data"]} == {"embedding"}
    return list(body["data"])


def floats(value: str | list[float]) -> list[float]:
    if isinstance(value, str):
        return [float(number) for number in np.frombuffer(pybase64.b64decode(value, validate=True), "<f4")]
    return value


@runners
def test_ollamas_answer_has_null_and_says_why(faulty: RunningServer, model: str) -> None:
    body = ask(faulty, "/api/embed", model, INPUTS, partial_results=True).json()
    rows = body["embeddings"]
    assert {index for index, row in enumerate(rows) if row is None} == set(BAD)
    good = [index for index in range(len(INPUTS)) if index not in BAD]
    np.testing.assert_allclose(
        [rows[index] for index in good], unit([INPUTS[index] for index in good]), atol=1e-6
    )
    assert {error["index"]: error["code"] for error in body["errors"]} == BAD
    assert all(error["message"].startswith(f"input {error['index']}: ") for error in body["errors"])
    assert body["prompt_eval_count"] == 1 + 1 + 2


@runners
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openais_answer_has_an_error_in_the_place_of_a_vector(
    faulty: RunningServer, model: str, encoding: str
) -> None:
    answer = ask(faulty, "/v1/embeddings", model, INPUTS, partial_results=True, encoding_format=encoding)
    rows = openai_rows(answer.json())
    for index, row in enumerate(rows):
        if index in BAD:
            assert row["embedding"] is None
            assert (row["error"]["code"], row["error"]["param"]) == (BAD[index], "input")
            assert row["error"]["message"].startswith(f"input {index}: ")
        else:
            assert "error" not in row
            np.testing.assert_allclose(floats(row["embedding"]), unit([INPUTS[index]])[0], atol=1e-6)
    assert answer.json()["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


@runners
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", [{}, {"partial_results": False}, {"partial_results": None}])
def test_without_it_the_whole_request_fails_and_names_the_input(
    faulty: RunningServer, model: str, path: str, fields: dict[str, Any]
) -> None:
    told = error_text(path, ask(faulty, path, model, ["fine", "please FAIL"], **fields), 500)
    assert "input 1" in told
    not_finite = 400 if path == "/api/embed" else 500
    told = error_text(path, ask(faulty, path, model, ["fine", "fine", "a NAN"], **fields), not_finite)
    assert "input 2" in told


@runners
@pytest.mark.parametrize("path", PATHS)
def test_it_changes_nothing_where_nothing_fails(faulty: RunningServer, model: str, path: str) -> None:
    plain, partial = (
        ask(faulty, path, model, ["one", "two"], **fields).json()
        for fields in ({}, {"partial_results": True})
    )
    for body in (plain, partial):
        body.pop("total_duration", None)
        body.pop("load_duration", None)
    assert plain == partial


@runners
def test_all_may_fail(faulty: RunningServer, model: str) -> None:
    body = ask(faulty, "/api/embed", model, ["FAIL", "NAN"], partial_results=True).json()
    assert body["embeddings"] == [None, None]
    assert [error["index"] for error in body["errors"]] == [0, 1]
    rows = openai_rows(ask(faulty, "/v1/embeddings", model, ["FAIL"], partial_results=True).json())
    assert rows[0]["embedding"] is None


@runners
def test_a_text_that_is_too_long_fails_alone(faulty: RunningServer, model: str) -> None:
    texts = ["short", "far too long " * 4, "short too"]
    rows = openai_rows(ask(faulty, "/v1/embeddings", model, texts, partial_results=True).json())
    assert [row["embedding"] is None for row in rows] == [False, True, False]
    error = rows[1]["error"]
    assert error["code"] == "input_too_long"
    assert "input 1 has 12 tokens" in error["message"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_large_answers_in_pieces(faulty: RunningServer, encoding: str) -> None:
    bad = {0, 63, 64, 65, 127, 128, 200, 299}
    texts = [f"text {index} {'FAIL' if index in bad else ''}" for index in range(300)]
    good = [index for index in range(300) if index not in bad]
    expected = unit([texts[index] for index in good], N_WIDE)

    answer = ask(faulty, "/v1/embeddings", WIDE, texts, partial_results=True, encoding_format=encoding)
    assert answer.headers.get("transfer-encoding") == "chunked"
    rows = openai_rows(answer.json())
    assert {row["index"] for row in rows if row["embedding"] is None} == bad
    np.testing.assert_allclose([floats(rows[index]["embedding"]) for index in good], expected, atol=1e-6)

    body = ask(faulty, "/api/embed", WIDE, texts, partial_results=True).json()
    assert {index for index, row in enumerate(body["embeddings"]) if row is None} == bad
    np.testing.assert_allclose([body["embeddings"][index] for index in good], expected, atol=1e-6)
    assert {error["index"] for error in body["errors"]} == bad


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["yes", 1, []])
def test_anything_but_a_truth_value_is_refused(faulty: RunningServer, path: str, value: Any) -> None:
    told = error_text(path, ask(faulty, path, NAMES["inline"], "x", partial_results=value), 400)
    assert told.startswith("partial_results: ")


@pytest.mark.parametrize("path", PATHS)
def test_what_is_wrong_with_the_request_itself_is_no_partial_result(faulty: RunningServer, path: str) -> None:
    assert ask(faulty, path, "nobody", "x", partial_results=True).status_code == 404
    fields = {"partial_results": True, "dimensions": -1}
    assert ask(faulty, path, NAMES["inline"], "x", **fields).status_code == 400
