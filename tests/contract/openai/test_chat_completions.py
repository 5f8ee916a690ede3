"""POST /v1/chat/completions: text and images in, the answer whole or as chunks, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import DEADLY, EYES, LONG, ODD, SLOW, WORDS, on_its_side, png, uri
from tests.support.pdfs import pdf
from tests.support.server import RunningServer, openai_error

PATH = "/v1/chat/completions"
USAGE = {
    "prompt_tokens": 4,
    "completion_tokens": 4,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 0},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("openai")) as running:
        yield running


def image(payload: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(payload, kind), "detail": "high"}}


def say(*parts: Any, role: str = "user") -> dict[str, Any]:
    texts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "content": texts}


def ask(server: RunningServer, *parts: Any, **fields: Any) -> httpx.Response:
    return server.http.post(PATH, json={"model": EYES, "messages": [say(*parts)], **fields})


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def chunks_of(server: RunningServer, **body: Any) -> list[dict[str, Any]]:
    with server.http.stream("POST", PATH, json={"model": EYES, "stream": True, **body}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        frames = answer.read().decode().removesuffix("\n\n").split("\n\n")
    assert frames.pop() == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_the_answer(server: RunningServer) -> None:
    began_s = int(time.time())
    told = ask(server, image(png()), "what is it").json()
    assert told.pop("id").startswith("chatcmpl-")
    assert began_s <= told.pop("created") <= time.time()
    message = {"role": "assistant", "content": "40x30 what is it", "refusal": None, "annotations": []}
    assert told == {
        "object": "chat.completion",
        "model": EYES,
        "system_fingerprint": None,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def test_a_stream_adds_up_to_the_whole(server: RunningServer) -> None:
    message = say(image(png()), LONG)
    whole = ask(server, image(png()), LONG).json()
    head, *pieces, last = chunks_of(server, messages=[message])
    assert head["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    for chunk in (head, *pieces, last):
        assert (chunk["object"], chunk["id"], chunk["created"]) == (
            "chat.completion.chunk",
            head["id"],
            head["created"],
        )
        assert "usage" not in chunk


def test_the_usage_of_a_stream_comes_last_and_only_if_asked_for(server: RunningServer) -> None:
    *others, last = chunks_of(server, messages=[say("a b")], stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in others)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 4)


def test_a_whole_conversation(server: RunningServer) -> None:
    messages = [
        {"role": "system", "content": "be"},
        {"role": "developer", "content": "brief"},
        say(image(png(10, 10)), "one", image(png(20, 10))),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": "three", "name": "someone"},
    ]
    answer = server.http.post(PATH, json={"model": EYES, "messages": messages})
    assert text_of(answer) == "be brief 10x10 one 20x10 no three"


def test_fields_that_say_how_to_write(server: RunningServer) -> None:
    for limit in ("max_tokens", "max_completion_tokens"):
        told = ask(server, "a b c", **{limit: 2}).json()
        assert (told["choices"][0]["message"]["content"], told["choices"][0]["finish_reason"]) == (
            "a b",
            "length",
        )
    assert text_of(ask(server, "a END b", stop="END")) == "a"
    assert text_of(ask(server, "a END b", stop=["x", "END"])) == "a"
    chosen = {"temperature": 0, "top_p": 0.5, "seed": -(2**40), "top_k": -1, "min_p": 0.1, "n": 1}
    ignored = {"user": "me", "store": True, "tools": [], "tool_choice": "none", "reasoning_effort": "low",
               "response_format": {"type": "text"}, "presence_penalty": 0, "logprobs": False,
               "stop": None, "metadata": {"a": "b"}, "parallel_tool_calls": True}  # fmt: skip
    assert text_of(ask(server, "a b", **chosen, **ignored)) == "a b"


def test_an_image_lies_as_its_exif_says(server: RunningServer) -> None:
    assert text_of(ask(server, image(on_its_side(), "image/jpeg"), "it")) == "30x40 it"


def test_a_file_is_an_image_a_page(server: RunningServer) -> None:
    document = uri(pdf("", "", size=(72, 144)), "application/pdf")
    file = {"type": "file", "file": {"filename": "two.pdf", "file_data": document}}
    assert text_of(ask(server, "see", file, "now")) == "see 110x220 110x220 now"


def test_a_bare_url_field_works_too(server: RunningServer) -> None:
    assert text_of(ask(server, {"type": "image_url", "image_url": uri(png())})) == "40x30"


def test_a_model_of_text_alone(server: RunningServer) -> None:
    assert text_of(ask(server, "a", model=WORDS)) == "a"
    refused = openai_error(ask(server, image(png()), model=WORDS), 400)
    assert "reads text alone" in refused["message"]


def test_odd_characters_arrive_as_they_are(server: RunningServer) -> None:
    text = " ".join(ODD.split())
    assert text_of(ask(server, text)) == text
    chunks = chunks_of(server, messages=[say(text)])[1:-1]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == text


@pytest.mark.parametrize(("payload", "says"), chats.BAD_IMAGES)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_bad_image_is_named_in_good_time(
    server: RunningServer, payload: bytes, says: str, is_streamed: bool
) -> None:
    began_s = time.perf_counter()
    error = openai_error(ask(server, "see", image(png()), image(payload), stream=is_streamed), 400)
    assert time.perf_counter() - began_s < chats.BAD_IMAGE_S
    assert says in error["message"]
    assert error["param"] == "messages[0].content[2].image_url.url"
    assert (error["message"].split(": ")[0], error["type"]) == (error["param"], "invalid_request_error")


BAD: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"model": None}, 400, "model is required", "model"),
    ({"model": "nope"}, 404, "not found", "model"),
    ({"model": "nope", "stream": True}, 404, "not found", "model"),
    ({"model": "wordllama-256d"}, 400, "does not write text", "model"),
    ({"messages": []}, 400, "messages is empty", "messages"),
    ({"messages": None}, 400, "messages is empty", "messages"),
    ({"messages": [{"role": "robot", "content": "a"}]}, 400, "'robot'", "messages[0].role"),
    ({"messages": [{"role": "function", "content": "a"}]}, 400, "call of a tool", "messages[0]"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content", "messages"),
    ({"messages": [say({"type": "input_audio"})]}, 400, "'input_audio'", "messages[0].content[0].type"),
    ({"messages": [say({"type": "text"})]}, 400, "required", "messages[0].content[0].text"),
    ({"messages": [say(image(png()), role="system")]}, 400, "only a user shows one", "messages[0]"),
    ({"messages": [say("a" * 1_000_001)]}, 400, "TURBOV2_MAX_TEXT_CHARS", "messages[0].content[0].text"),
    ({"messages": [say(*[image(png())] * 5)]}, 400, "has 5 images, the limit is 4", "images"),
    ({"tools": [{"type": "function"}]}, 400, "expected a function", "tools[0]"),
    ({"tools": [{"type": "function", "function": {}}]}, 400, "name is required", "tools[0].name"),
    ({"tool_choice": "required"}, 400, "tools is empty", "tool_choice"),
    ({"tool_choice": "some"}, 400, "'some'", "tool_choice"),
    ({"functions": [{"name": "f"}]}, 400, "send them as tools", "functions"),
    ({"response_format": {"type": "xml"}}, 400, "'xml'", "response_format"),
    ({"n": 2}, 400, "one answer", "n"),
    ({"logprobs": True}, 400, "probabilities", "logprobs"),
    ({"presence_penalty": 2.5}, 400, "from -2 to 2", "presence_penalty"),
    ({"temperature": 3}, 400, "from 0 to 2", "temperature"),
    ({"max_tokens": 0}, 400, "at least 1", "max_tokens"),
    ({"stop": ["a"] * 17}, 400, "up to 16", "stop"),
]


@pytest.mark.parametrize(("fields", "status", "says", "param"), BAD)
def test_refused(
    server: RunningServer, fields: dict[str, Any], status: int, says: str, param: str | None
) -> None:
    error = openai_error(ask(server, "a", **fields), status)
    assert says in error["message"]
    assert error["param"] == param


def test_urls_are_not_fetched(server: RunningServer) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    assert "not fetched" in openai_error(ask(server, part), 400)["message"]


def test_who_leaves_frees_the_model(server: RunningServer) -> None:
    ask(server, "load it", model=SLOW)
    chats.leave_midway(server, PATH, {"model": SLOW, "stream": True, "messages": [say(image(png()), LONG)]})
    assert text_of(ask(server, "b", model=SLOW)) == "b"


def test_a_failure_midway_is_the_last_event(server: RunningServer) -> None:
    body = {"model": DEADLY, "stream": True, "messages": [say("a " * 50 + "CRASH b")]}
    with server.http.stream("POST", PATH, json=body) as answer:
        *frames, last = answer.read().decode().removesuffix("\n\n").split("\n\n")
    assert len(frames) >= 2
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "runner_crashed")
    assert "ended (signal 9)" in openai_error(ask(server, "a CRASH", model=DEADLY), 500)["message"]
