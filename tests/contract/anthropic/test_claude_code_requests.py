"""Requests in the shapes in which Claude Code sends them, field for field; its words are not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support import claude_code_requests as requests
from tests.support.chats import AGENT
from tests.support.server import RunningServer

PATH = "/v1/messages?beta=true"
CALLS = ('CALL Bash {"command": "a"}', 'CALL Read {"command": "b"}')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("claude-code")) as running:
        yield running


def events(server: RunningServer, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the events of a stream."""
    response = server.http.post(PATH, json=body, headers=requests.HEADERS)
    assert response.status_code == 200, response.text
    lines = response.text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def told(server: RunningServer, body: dict[str, Any]) -> dict[str, Any]:
    """Returns the same answer as a whole: Claude Code asks so if a stream breaks."""
    response = server.http.post(PATH, json=body | {"stream": None}, headers=requests.HEADERS)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def words_of(answer: dict[str, Any]) -> str:
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


def test_an_answer_is_told_block_by_block(server: RunningServer) -> None:
    kinds = [event["type"] for event in events(server, requests.turn(AGENT, *CALLS))]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    blocks = [
        event["content_block"]["type"]
        for event in events(server, requests.turn(AGENT, *CALLS))
        if event["type"] == "content_block_start"
    ]
    assert blocks == ["thinking", "text", "tool_use", "tool_use"]


def test_thoughts_and_results_come_back(server: RunningServer) -> None:
    script = (*CALLS, "THEN")
    first = told(server, requests.turn(AGENT, *script))
    assert first["stop_reason"] == "tool_use"
    second = told(server, requests.results(AGENT, first["content"], *script))
    assert words_of(second).endswith("Bash: done Read: An image; it follows. What Read showed: 40x30")


def test_the_line_that_changes_is_not_read(server: RunningServer) -> None:
    """Else each session, and each first prompt of one, would read all its instructions again."""
    told(server, requests.turn(AGENT, "SAY a", version="2.1.197.0df"))
    usage = told(server, requests.turn(AGENT, "SAY b", version="2.1.198.361"))["usage"]
    assert usage["cache_read_input_tokens"] >= 10
    answer = words_of(told(server, requests.turn(AGENT, "hello")))
    assert answer.startswith("You are an agent. Be short.")
    assert "billing" not in answer


def test_a_reminder_midway_is_read_where_it_stands(server: RunningServer) -> None:
    answer = words_of(told(server, requests.turn(AGENT, "hello")))
    assert answer.endswith("hello Agents that may be called: none.")


def test_names_of_older_models_bring_other_fields(server: RunningServer) -> None:
    answer = told(server, requests.turn_of_an_older_model(AGENT, "SAY hello"))
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]


def test_a_title_is_json_and_no_thought(server: RunningServer) -> None:
    answer = told(server, requests.title(AGENT, "CALL Bash {}"))
    assert answer["content"] == [{"type": "text", "text": '{"title": "word"}'}]


@pytest.mark.parametrize("tools", [(), (requests.BASH,), (requests.BASH, requests.READ)])
def test_what_takes_room_is_counted(server: RunningServer, tools: tuple[dict[str, Any], ...]) -> None:
    path = "/v1/messages/count_tokens?beta=true"
    response = server.http.post(path, json=requests.counting(AGENT, *tools), headers=requests.HEADERS)
    assert response.json() == {
        "input_tokens": 1 + sum(1 + len(each["description"].split()) for each in tools)
    }


def test_models_are_asked_for(server: RunningServer) -> None:
    response = server.http.get("/v1/models?limit=1000", headers=requests.HEADERS)
    body = response.json()
    assert AGENT in {model["id"] for model in body["data"]}
    assert body["has_more"] is False


def test_the_first_knock_needs_no_key(server: RunningServer) -> None:
    assert httpx.head(server.base_url).status_code == 200
