"""TURBOV2_MODEL_ALIASES: names of models that are not here, and who answers for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.server import RunningServer, fake_model

ALIASES = "gpt-4o=writer, claude-haiku-4-5=other, claude-*=writer, writer=other"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("aliases")
    models = [
        fake_model(name, folder, capability="generate", runner="thread", is_writer=True).replace(
            "dimensions = 8\n", ""
        )
        for name in ("writer", "other")
    ]
    with RunningServer(folder, models="\n".join(models), env={"TURBOV2_MODEL_ALIASES": ALIASES}) as running:
        yield running


def ask(server: RunningServer, path: str, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "a"}], "max_tokens": 9, **fields}
    return server.http.post(path, json=body)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("claude-sonnet-4-6", "writer"),
        ("CLAUDE-haiku-4-5", "other"),
        ("gpt-4o:latest", "writer"),
        ("writer", "writer"),
    ],
)
def test_answers_name_the_model_that_was_used(server: RunningServer, asked: str, served: str) -> None:
    for path in ("/v1/messages", "/v1/chat/completions"):
        answer = ask(server, path, asked)
        assert (answer.json()["model"], answer.headers["x-turbov2-model"]) == (served, served)
    streamed = ask(server, "/v1/messages", asked, stream=True)
    assert streamed.headers["x-turbov2-model"] == served
    assert f'"model":"{served}"' in streamed.text
    told = server.http.post("/v1/responses", json={"model": asked, "input": "a"}).json()
    assert told["model"] == served
    ollama = ask(server, "/api/chat", asked, stream=False)  # whose clients want their own spelling back
    assert (ollama.json()["model"], ollama.headers["x-turbov2-model"]) == (asked, served)


def test_a_name_that_none_stands_for_is_not_found(server: RunningServer) -> None:
    assert ask(server, "/v1/messages", "clau").status_code == 404
    assert ask(server, "/v1/chat/completions", "gpt-4o-mini").status_code == 404


def test_whole_names_are_listed(server: RunningServer) -> None:
    listed = {model["id"]: model["display_name"] for model in server.http.get("/v1/models").json()["data"]}
    assert listed["gpt-4o"] == "gpt-4o (writer)"
    assert listed["claude-haiku-4-5"] == "claude-haiku-4-5 (other)"
    assert listed["writer"] == "writer"
    assert not any("*" in name for name in listed)
    assert server.http.get("/v1/models/claude-opus-9").json()["id"] == "writer"
