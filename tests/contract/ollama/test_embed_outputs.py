"""POST /api/embed: what we add about prompts, outputs and encodings."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.server import FAKE, REAL, MakeServer, RunningServer, fake_model, ollama_error
from turbov2.catalog import Catalog
from turbov2.catalog.weights import WeightsStore

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]


def embeddings(server: RunningServer, **fields: Any) -> list[Any]:
    answer = server.http.post("/api/embed", json={"model": REAL, "input": TEXTS, **fields})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["embeddings"])


@pytest.mark.parametrize("n", [3, 300])
def test_encodings(server: RunningServer, n: int) -> None:
    texts = [f"{TEXTS[i % 3]} {i}" for i in range(n)]
    floats = np.array(embeddings(server, input=texts), np.float32)
    steps, bits = np.rint(floats * 127).astype(int), np.packbits(floats > 0, axis=1).astype(int)
    wanted = {"int8": steps, "uint8": steps + 128, "ubinary": bits, "binary": bits - 128, "float": floats}
    for name, values in wanted.items():
        found = np.array(embeddings(server, input=texts, encoding_format=name))
        np.testing.assert_array_equal(found.astype(values.dtype), values)
    packed = embeddings(server, input=texts, encoding_format="base64")
    np.testing.assert_array_equal([np.frombuffer(base64.b64decode(row), "<f4") for row in packed], floats)


def test_a_failed_input_is_null_in_any_encoding(server: RunningServer) -> None:
    fields = {"model": FAKE, "input": ["a", "fail-now"], "partial_results": True, "encoding_format": "int8"}
    rows = embeddings(server, **fields)
    assert rows[1] is None
    assert all(isinstance(value, int) for value in rows[0])


def test_prompts_by_either_name(make_server: MakeServer, tmp_path: Path) -> None:
    table = fake_model("prompted", tmp_path)
    model = table.replace("dimensions = 8", 'dimensions = 8\nquery_prompt = "find: "')
    server = make_server(models=model, env={"TURBOV2_PRELOAD": "prompted"})
    plain = embeddings(server, model="prompted")
    assert embeddings(server, model="prompted", prompt_name="document") == plain
    asked = embeddings(server, model="prompted", prompt_name="query")
    assert asked != plain
    assert embeddings(server, model="prompted", input_type="query") == asked
    assert embeddings(server, model="prompted", input_type="query", prompt_name="document") == asked


def test_outputs(server: RunningServer) -> None:
    assert (
        embeddings(server, outputs=["dense", "dense"]) == embeddings(server, outputs=[]) == embeddings(server)
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outputs": ["sparse"]}, f"model '{REAL}' gives no sparse output, only: dense"),
        ({"outputs": ["dense", "tokens"]}, f"model '{REAL}' gives no tokens output, only: dense"),
        ({"outputs": ["other"]}, "outputs[0]: Invalid enum value 'other'"),
        ({"encoding_format": "int4"}, "encoding_format: Invalid enum value 'int4'"),
        ({"prompt_name": "sts"}, "prompt_name is 'sts', expected 'query' or 'document'"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, Any], message: str) -> None:
    answer = server.http.post("/api/embed", json={"model": REAL, "input": "a", **fields})
    assert ollama_error(answer, 400) == message


def test_long_texts_in_windows(make_server: MakeServer, tmp_path: Path) -> None:
    spec = Catalog.load(None, {}).resolve(REAL)
    installed = WeightsStore(tmp_path / "none").locate(spec)
    assert installed is not None
    for name, path in installed.files.items():
        (tmp_path / name).symlink_to(path)
    table = f'weights = {{ kind = "path", path = "{tmp_path}" }}\ncapability = "embed"\n'
    table += 'backend = "static"\nrunner = "inline"\n'
    server = make_server(models=f'[models."short"]\nmax_tokens = 64\n{table}\n[models."whole"]\n{table}')
    long = " ".join(f"{TEXTS[i % 3]} Number {i}." for i in range(200))
    sent = {"input": [TEXTS[0], long, TEXTS[1]], "truncate": False}
    whole = np.array(embeddings(server, model="whole", **sent))
    answer = server.http.post("/api/embed", json={"model": "short", "windows": True, **sent}).json()
    assert set(answer["windows"]) == {"1"}
    assert answer["windows"]["1"] > 40
    assert "truncated" not in answer
    assert answer["prompt_eval_count"] > 3_000
    found = np.array(answer["embeddings"])
    np.testing.assert_allclose(found[[0, 2]], whole[[0, 2]], atol=1e-6)
    assert found[1] @ whole[1] > 0.999, "the mean of all its tokens, those of overlaps twice"
    assert found[1] @ np.array(embeddings(server, model="short", input=long)[0]) < 0.999


def test_a_window_that_fails_is_told_by_its_input(server: RunningServer) -> None:
    inputs = ["short", "word " * 40 + "fail-now " + "word " * 40]
    body = {"model": FAKE, "input": inputs, "windows": True}
    message = ollama_error(server.http.post("/api/embed", json=body), 500)
    assert message.startswith("input 1: ")
    answer = server.http.post("/api/embed", json={**body, "partial_results": True}).json()
    assert [row is None for row in answer["embeddings"]] == [False, True]
    assert [error["index"] for error in answer["errors"]] == [1]
    assert "windows" not in answer


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"windows": "yes"}, "windows: Expected `bool | null`, got `str`"),
        (
            {"windows": True, "outputs": ["dense", "tokens"]},
            "windows give dense vectors only: leave out `outputs`",
        ),
    ],
)
def test_windows_that_are_refused(server: RunningServer, fields: dict[str, Any], message: str) -> None:
    answer = server.http.post("/api/embed", json={"model": FAKE, "input": TEXTS, **fields})
    assert ollama_error(answer, 400) == message
