"""The official JavaScript clients, unchanged: each script in js/ asserts by itself and prints what it got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import node
from tests.support.ears import EARS, ears_server, recording, words
from tests.support.server import FAKE, INLINE, REAL, Embed, RunningServer

pytestmark = [node.needs_node, node.slow_at_first]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """The packages are there."""
    node.install()


def run_script(server: RunningServer, script: str, *arguments: str) -> dict[str, Any]:
    return node.run_script(script, server.base_url, *(arguments or (REAL, FAKE, INLINE)))


def test_ollama(server: RunningServer, unit_vectors: Embed, raw_vectors: Embed) -> None:
    manifest = server.folder / "home" / "models" / "minilm-384d.json"  # stands for a pulled model, to delete
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text("{}")
    answer = run_script(server, "ollama.mjs")
    np.testing.assert_allclose(answer["embedding"], unit_vectors(["a first text"])[0], atol=1e-7)
    np.testing.assert_array_equal(np.array(answer["older"], np.float32), raw_vectors(["a first text"])[0])
    assert not manifest.exists()


def test_openai(server: RunningServer, unit_vectors: Embed) -> None:
    answer = run_script(server, "openai.mjs")
    np.testing.assert_allclose(answer["embedding"], unit_vectors(["a first text"])[0], atol=1e-7)


def test_openai_audio(tmp_path: Path) -> None:
    """Row 22."""
    pytest.importorskip("av", reason="decodes audio: needs the extra audio")
    sound = tmp_path / "talk.wav"
    sound.write_bytes(recording(12, silent=(3, 4)))
    with ears_server(tmp_path) as server:
        answer = run_script(server, "openai-audio.mjs", EARS, str(sound), words(12, silent=(3, 4)))
    assert answer["deltas"] == 3


def test_langchain(server: RunningServer, unit_vectors: Embed) -> None:
    answer = run_script(server, "langchain.mjs")
    np.testing.assert_allclose(answer["embedding"], unit_vectors(["a first text"])[0], atol=1e-7)


def test_cohere(server: RunningServer, unit_vectors: Embed) -> None:
    answer = run_script(server, "cohere.mjs")
    texts = ["How do cats sleep?", "The stock market fell today.", "Cats sleep sixteen hours a day.",
             "A cat is an animal."]  # fmt: skip
    vectors = unit_vectors(texts)
    np.testing.assert_allclose(answer["embedding"], vectors[1], atol=1e-7)
    scores = (1 + vectors[1:] @ vectors[0]) / 2
    best = np.argsort(-scores)[:2]
    assert [index for index, _ in answer["results"]] == best.tolist()
    np.testing.assert_allclose([score for _, score in answer["results"]], scores[best], atol=1e-6)


def test_n8n_reranker(server: RunningServer, unit_vectors: Embed) -> None:
    """Row 12: each mode of the node ranks alike; what it makes of a score depends on the mode."""
    answer = run_script(server, "n8n-reranker.cjs")
    assert answer["detected"] == "vl-classifier"
    texts = ["How do cats sleep?", "The stock market fell today.", "Cats sleep sixteen hours a day.",
             "A cat is an animal."]  # fmt: skip
    vectors = unit_vectors(texts)
    cosines = vectors[1:] @ vectors[0]
    best = np.argsort(-cosines)[:2].tolist()
    for mode, ranked in answer["found"].items():
        assert [index for index, _ in ranked] == best, mode
        wanted = (1 + cosines) / 2 if mode == "ollama" else cosines
        np.testing.assert_allclose([score for _, score in ranked], wanted[best], atol=1e-5)


def test_the_lock_names_exact_versions_and_no_registry() -> None:
    lock = json.loads((node.FOLDER / "package-lock.json").read_text())
    wanted = json.loads((node.FOLDER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all(package.get("integrity") for path, package in lock["packages"].items() if path)
