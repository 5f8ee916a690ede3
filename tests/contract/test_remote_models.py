"""Models that another server runs, seen through every family: a server of ours in front of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, DEADLY, LONG, ODD, SLOW, WORDS, b64, png, uri
from tests.support.server import (
    RunningServer,
    anthropic_error,
    leases,
    loaded,
    ollama_error,
    openai_error,
    until,
)

KEY = "their-secret-key-0123456789"
CHAT = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "ls", "description": "lists", "parameters": {}}}]


class Pair(NamedTuple):
    front: RunningServer
    back: RunningServer


def table(name: str, capability: str, base_url: str, *options: str, model: str = "") -> str:
    lines = [
        f'[models."{name}"]',
        f'capability = "{capability}"',
        'backend = "remote_openai"',
        f'[models."{name}".options]',
        f'base_url = "{base_url}"',
        f'model = "{model or name}"',
        *options,
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Models of the one in front have the names that they have behind."""
    with chats.chat_server(tmp_path_factory.mktemp("back"), EMBEDDINGS_API_KEY=KEY) as back:
        back.http.headers["authorization"] = f"Bearer {KEY}"
        url, keyed = f"{back.base_url}/v1", 'key_variable = "THEIR_KEY"'
        models = [
            table(WORDS, "generate", url, keyed),
            *(table(name, "vision", url, keyed) for name in (AGENT, SLOW, DEADLY)),
            table("keyless", "generate", url, model=WORDS),
            table("unset", "generate", url, 'key_variable = "NOBODY_SET_THIS"', model=WORDS),
            table("misnamed", "generate", url, keyed, model="nobody"),
            table("nowhere", "generate", "http://127.0.0.1:9/v1", "retries = 0"),
            table("broken", "generate", "http://user:hidden-word@x/v1"),
        ]
        folder = tmp_path_factory.mktemp("front")
        # A budget that holds nothing: such models need none.
        env = {
            "THEIR_KEY": KEY,
            "TURBOV2_LOG_LEVEL": "debug",
            "TURBOV2_HOST_BUDGET": "1MB",
            "TURBOV2_PRELOAD": "none",
        }
        with RunningServer(folder, models="\n".join(models), env=env) as front:
            yield Pair(front, back)


def both(pair: Pair, path: str, body: dict[str, Any]) -> tuple[httpx.Response, httpx.Response]:
    answers = tuple(server.http.post(path, json=body) for server in pair)
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    return answers  # type: ignore[return-value]


def without_ids(told: Any) -> Any:
    """Returns the JSON without what differs from answer to answer: ids, and times."""
    own = {"id", "call_id", "created", "created_at", "system_fingerprint"}
    if isinstance(told, dict):
        return {
            key: without_ids(value)
            for key, value in told.items()
            if key not in own and not key.endswith("_duration")
        }
    return [without_ids(each) for each in told] if isinstance(told, list) else told


def say(*lines: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "\n".join(lines)}]


RESULT = [
    *say("list it"),
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "ls", "arguments": '{"a":1}'}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "two files"},
]
SHAPE = {"type": "object", "properties": {"n": {"type": "integer"}}}
QUESTION = {"type": "text", "text": "what?"}
IMAGE = {"type": "image_url", "image_url": {"url": uri(png())}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": WORDS, "messages": say(ODD)}),
        (CHAT, {"model": WORDS, "messages": say("one two three four"), "max_tokens": 2}),
        (CHAT, {"model": WORDS, "messages": say("one two three four"), "stop": [" three"]}),
        (CHAT, {"model": AGENT, "messages": say("think about it")}),
        (CHAT, {"model": AGENT, "messages": say("hurry"), "reasoning_effort": "none"}),
        (CHAT, {"model": AGENT, "messages": say('CALL ls {"a": 1}', "CALL ls {}"), "tools": TOOLS}),
        (CHAT, {"model": AGENT, "messages": say("x"), "tools": TOOLS, "tool_choice": "required"}),
        (CHAT, {"model": AGENT, "messages": RESULT, "tools": TOOLS}),
        (
            CHAT,
            {
                "model": AGENT,
                "messages": say("shape"),
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SHAPE}},
            },
        ),
        (CHAT, {"model": AGENT, "messages": [{"role": "user", "content": [IMAGE, QUESTION]}]}),
        ("/v1/completions", {"model": WORDS, "prompt": "once upon a time"}),
        ("/api/chat", {"model": AGENT, "messages": say("CALL ls {}"), "tools": TOOLS, "stream": False}),
        ("/api/generate", {"model": AGENT, "prompt": "what?", "images": [b64(png())], "stream": False}),
        (
            "/v1/messages",
            {
                "model": AGENT,
                "max_tokens": 50,
                "messages": say("CALL ls {}"),
                "tools": [{"name": "ls", "input_schema": {"type": "object"}}],
            },
        ),
    ],
)  # fmt: skip
def test_answers_are_those_of_the_server_behind(pair: Pair, path: str, body: dict[str, Any]) -> None:
    for server in pair:  # what is kept of the last prompt is the same then
        server.http.post(path, json=body)
    front, back = both(pair, path, body)
    mine, theirs = without_ids(front.json()), without_ids(back.json())
    if path in ("/v1/messages", "/api/chat", "/api/generate"):  # which differ in what they tell of a cache
        for told in (mine, theirs):
            told.pop("usage", None)
    assert mine == theirs


def test_streams_add_up_to_the_answer(pair: Pair) -> None:
    body = {
        "model": AGENT,
        "messages": say('CALL ls {"a": 1}'),
        "tools": TOOLS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    front, back = both(pair, CHAT, body)
    folded = []
    for answer in (front, back):
        events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        chunks = [json.loads(event) for event in events]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        names = ("content", "reasoning")
        texts = ["".join(delta.get(name) or "" for delta in deltas) for name in names]
        calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
        reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
        usage = chunks[-1]["usage"]
        folded.append((texts, calls, reasons[-1], usage["prompt_tokens"], usage["completion_tokens"]))
    assert folded[0] == folded[1]
    assert folded[0][2] == "tool_calls"


def test_who_leaves_frees_the_model_behind(pair: Pair) -> None:
    body = {"model": SLOW, "messages": say(LONG), "stream": True}
    with pair.front.http.stream("POST", CHAT, json=body) as answer:
        next(answer.iter_bytes())
        until(lambda: leases(pair.back, SLOW) == 1)
    until(lambda: leases(pair.front, SLOW) == 0 and leases(pair.back, SLOW) == 0, deadline_s=3)


def test_many_are_asked_at_once(pair: Pair) -> None:
    body = {"model": SLOW, "messages": say(LONG), "stream": True}
    with pair.front.http.stream("POST", CHAT, json=body), pair.front.http.stream("POST", CHAT, json=body):
        until(lambda: leases(pair.back, SLOW) == 2)
    until(lambda: leases(pair.back, SLOW) == 0, deadline_s=3)


def test_a_failure_behind_is_told_and_forgotten(pair: Pair) -> None:
    answer = pair.front.http.post(CHAT, json={"model": DEADLY, "messages": say("CRASH")})
    assert openai_error(answer, 502)["code"] == "remote_failed"
    answer = pair.front.http.post(CHAT, json={"model": WORDS, "messages": say("well")})
    assert answer.json()["choices"][0]["message"]["content"] == "well"


def test_what_is_wrong_is_said_in_each_familys_words(pair: Pair) -> None:
    http = pair.front.http
    keyless = http.post(CHAT, json={"model": "keyless", "messages": say("x")})
    assert "key_variable" in openai_error(keyless, 502)["message"]
    unset = http.post("/api/chat", json={"model": "unset", "messages": say("x")})
    assert "'NOBODY_SET_THIS' is not set" in ollama_error(unset, 501)
    body = {"model": "misnamed", "max_tokens": 5, "messages": say("x")}
    assert "no such model" in anthropic_error(http.post("/v1/messages", json=body), 502)["message"]
    nowhere = http.post("/api/chat", json={"model": "nowhere", "messages": say("x")})
    assert "cannot be reached" in ollama_error(nowhere, 502)
    broken = http.post(CHAT, json={"model": "broken", "messages": say("x")})
    assert "option 'base_url'" in openai_error(broken, 500)["message"]


def test_a_request_that_the_server_behind_refuses(pair: Pair) -> None:
    body = {"model": AGENT, "messages": [{"role": "user", "content": [IMAGE] * 5}]}
    assert openai_error(pair.front.http.post(CHAT, json=body), 400)["code"] == "context_length_exceeded"


def test_tokens_are_not_guessed(pair: Pair) -> None:
    body = {"model": WORDS, "messages": say("x")}
    answer = pair.front.http.post("/v1/messages/count_tokens", json=body)
    assert "does not count tokens" in anthropic_error(answer, 501)["message"]


def test_such_a_model_takes_no_memory_and_shows_no_address(pair: Pair) -> None:
    http = pair.front.http
    http.post(CHAT, json={"model": WORDS, "messages": say("x")})
    assert loaded(pair.front)[WORDS]["size"] == 0
    http.post(CHAT, json={"model": "keyless", "messages": say("secret is safe")})
    paths = ("/api/tags", "/api/ps", "/api/status", "/api/explain", "/metrics", "/v1/models", "/health")
    shown = [http.get(path).text for path in paths]
    shown += [http.post("/api/show", json={"model": name}).text for name in (WORDS, "keyless", "broken")]
    shown.append(http.get("/api/explain", params={"model": WORDS}).text)
    for text in shown:
        for secret in (KEY, "hidden-word", str(pair.back.port), "127.0.0.1:9"):
            assert secret not in text
    log = pair.front.log()
    for secret in (KEY, "hidden-word", "secret is safe"):
        assert secret not in log


def test_it_is_unloaded_and_comes_back(pair: Pair) -> None:
    http = pair.front.http
    assert http.post("/api/generate", json={"model": WORDS, "keep_alive": 0}).status_code == 200
    until(lambda: WORDS not in loaded(pair.front))
    answer = http.post(CHAT, json={"model": WORDS, "messages": say("back again")})
    assert answer.json()["choices"][0]["message"]["content"] == "back again"


def test_nothing_is_pulled_and_nothing_deleted(pair: Pair) -> None:
    http = pair.front.http
    assert http.post("/api/pull", json={"model": WORDS, "stream": False}).json() == {"status": "success"}
    answer = http.request("DELETE", "/api/delete", json={"model": WORDS})
    assert "another server" in ollama_error(answer, 400)
