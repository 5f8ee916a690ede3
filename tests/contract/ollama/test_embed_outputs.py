"""POST /api/embed: what we add about prompts, outputs and encodings."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.server import FAKE, REAL, MakeServer, RunningServer, fake_model, ollama_error

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
