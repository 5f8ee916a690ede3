"""LLM_BACKEND: a model of the catalogue, asked of another server that its variables name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support.server import RunningServer, anthropic_error, fake_model

CODER = "qwen2.5-coder-7b"
REPO = "Qwen/Qwen2.5-Coder-7B-Instruct"
KEY = "their-secret-key-0123456789"
ASKED = {"model": CODER, "max_tokens": 20, "messages": [{"role": "user", "content": "one two three"}]}


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose model has the name that vLLM gives to a model it was started with."""
    folder = tmp_path_factory.mktemp("back")
    table = fake_model("theirs", folder, capability="generate", runner="thread", is_writer=True)
    table = table.replace("dimensions = 8\n", f'aliases = ["{REPO}"]\n')
    table += f'[models."{CODER}"]\naliases = []\n'  # this one's own name for it would be in the way
    with RunningServer(folder, models=table, env={"EMBEDDINGS_API_KEY": KEY}) as running:
        yield running


@pytest.mark.parametrize("prefix", ["VLLM_REMOTE", "REMOTE_OPENAI"])
def test_the_catalogues_model_is_asked_of_their_server(
    back: RunningServer, tmp_path_factory: pytest.TempPathFactory, prefix: str
) -> None:
    env = {
        "LLM_BACKEND": "vllm_remote" if prefix == "VLLM_REMOTE" else "remote_openai",
        f"{prefix}_URL": f"{back.base_url}/v1",
        f"{prefix}_API_KEY": KEY,
        "TURBOV2_HOST_BUDGET": "1MB",  # holds no model that runs here
        "TURBOV2_PRELOAD": "none",
    }
    with RunningServer(tmp_path_factory.mktemp("front"), env=env) as front:
        answer = front.http.post("/v1/messages", json=ASKED)
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"] == [{"type": "text", "text": "one two three"}]
        assert answer.json()["model"] == CODER
        (listed,) = [m for m in front.http.get("/api/tags").json()["models"] if m["name"].startswith(CODER)]
        assert KEY not in str(listed)
        assert KEY not in front.log()


def test_a_wrong_key_is_the_operators(back: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    env = {"LLM_BACKEND": "vllm_remote", "VLLM_REMOTE_URL": f"{back.base_url}/v1", "TURBOV2_PRELOAD": "none"}
    env["VLLM_REMOTE_API_KEY"] = "not-their-key"
    with RunningServer(tmp_path_factory.mktemp("front"), env=env) as front:
        error = anthropic_error(front.http.post("/v1/messages", json=ASKED), 502)
        assert "correct the variable VLLM_REMOTE_API_KEY" in error["message"]


def test_a_missing_companion_stops_the_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RunningServer(tmp_path_factory.mktemp("front"), env={"LLM_BACKEND": "vllm_remote"})
    with pytest.raises(AssertionError, match="ended while it started"), server:
        pass
    assert "LLM_BACKEND=vllm_remote needs VLLM_REMOTE_URL" in server.log()
