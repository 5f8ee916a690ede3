"""POST /v1/messages: text, images and PDFs in, the answer whole or event by event, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import DEADLY, EYES, LONG, ODD, SHORT, SLOW, WORDS, b64, on_its_side, png
from tests.support.pdfs import pdf
from tests.support.server import MakeServer, RunningServer, anthropic_error

PATH = "/v1/messages"
NOTHING = {"stop_details": None, "container": None}
NO_CACHE = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("anthropic")) as running:
        yield running


def image(payload: bytes, media_type: str = "image/png") -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": b64(payload)}
    return {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}}


def document(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **fields}


def say(*parts: Any, role: str = "user") -> dict[str, Any]:
    texts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "content": texts}


def ask(server: RunningServer, *parts: Any, **fields: Any) -> httpx.Response:
    body = {"model": EYES, "max_tokens": 1000, "messages": [say(*parts)], **fields}
    return server.http.post(PATH, json=body)


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    (block,) = answer.json()["content"]
    assert set(block) == {"type", "text"}
    return str(block["text"])


def events_of(server: RunningServer, *parts: Any, **fields: Any) -> list[dict[str, Any]]:
    """Returns the events' data, after checking that each has its name."""
    body = {"model": EYES, "max_tokens": 1000, "messages": [say(*parts)], "stream": True, **fields}
    with server.http.stream("POST", PATH, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        frames = answer.read().decode().removesuffix("\n\n").split("\n\n")
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def streamed_text(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


def test_the_answer(server: RunningServer) -> None:
    answer = ask(server, image(png()), "what is it")
    told = answer.json()
    assert told.pop("id").startswith("msg_")
    assert told == {
        "type": "message",
        "role": "assistant",
        "model": EYES,
        "content": [{"type": "text", "text": "40x30 what is it"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        **NOTHING,
        "usage": {"input_tokens": 4, "output_tokens": 4, **NO_CACHE},
    }
    assert answer.headers["request-id"].startswith("req_")


def test_a_stream_event_for_event(server: RunningServer) -> None:
    whole = ask(server, image(png()), LONG).json()
    events = events_of(server, image(png()), LONG)
    start, ping, block, *deltas, stop, delta, end = events
    assert start["message"].pop("id").startswith("msg_")
    assert start == {
        "type": "message_start",
        "message": {
            **{name: whole[name] for name in ("type", "role", "model")},
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            **NOTHING,
            "usage": {**whole["usage"], "output_tokens": 0},
        },
    }
    text = {"type": "text", "text": ""}
    assert block == {"type": "content_block_start", "index": 0, "content_block": text}
    assert ping == {"type": "ping"}
    assert all(set(each) == {"type", "index", "delta"} and each["index"] == 0 for each in deltas)
    assert streamed_text(events) == whole["content"][0]["text"]
    assert stop == {"type": "content_block_stop", "index": 0}
    assert delta == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, **NOTHING},
        "usage": whole["usage"],
    }
    assert end == {"type": "message_stop"}


def test_why_it_ended(server: RunningServer) -> None:
    for fields, text, reason, sequence in (
        ({"max_tokens": 2}, "a b", "max_tokens", None),
        ({"stop_sequences": ["x", "END"]}, "a b", "stop_sequence", "END"),
        ({"stop_sequences": ["x"]}, "a b END c", "end_turn", None),
        ({"model": SHORT, "system": "z"}, "z a b", "model_context_window_exceeded", None),
        ({"model": SHORT, "system": "z", "max_tokens": 3}, "z a b", "max_tokens", None),
    ):
        told = ask(server, "a b END c", **fields).json()
        assert (told["content"][0]["text"], told["stop_reason"], told["stop_sequence"]) == (
            text,
            reason,
            sequence,
        )
        events = events_of(server, "a b END c", **fields)
        assert events[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence, **NOTHING}
        assert streamed_text(events) == text


def test_a_whole_conversation(server: RunningServer) -> None:
    messages = [
        {"role": "user", "content": "one"},
        say(image(png(10, 10)), "two"),
        say({"type": "thinking", "thinking": "hm", "signature": "s"}, role="assistant"),
        say({"type": "redacted_thinking", "data": "s"}, "three", role="assistant"),
        say("four", image(png(20, 10)), image(png(30, 10))),
        {"role": "system", "content": "five"},
    ]
    system = [{"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}}]
    answer = server.http.post(
        PATH, json={"model": EYES, "max_tokens": 99, "messages": messages, "system": system}
    )
    assert text_of(answer) == "be one 10x10 two three four 20x10 30x10 five"
    assert text_of(ask(server, "two", system="one")) == "one two"


def test_what_coding_agents_send_beside_it(server: RunningServer) -> None:
    extra = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "tools": [],
             "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
             "metadata": {"user_id": "{}"}, "service_tier": "auto", "tool_choice": {"type": "auto"},
             "temperature": 1, "top_p": 0.9, "top_k": 40, "stop_sequences": None, "cache_control": None,
             "betas": ["a"]}  # fmt: skip
    body = {"model": EYES, "max_tokens": 64_000, "messages": [say("a")], **extra}
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "x,y", "x-api-key": "none"}
    answer = server.http.post(f"{PATH}?beta=true", json=body, headers=headers)
    assert text_of(answer) == "a"


def test_an_image_lies_as_its_exif_says(server: RunningServer) -> None:
    assert text_of(ask(server, image(on_its_side(), "image/jpeg"), "it")) == "30x40 it"


def test_documents(server: RunningServer) -> None:
    file = {
        "type": "base64",
        "media_type": "application/pdf",
        "data": b64(pdf("", "", size=(72, 144))),
    }
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    blocks = {"type": "content", "content": [{"type": "text", "text": "inside"}, image(png())]}
    assert text_of(ask(server, "see", document(file, title="Title"), "now")) == (
        "see Title 110x220 110x220 now"
    )
    assert text_of(ask(server, document(plain, context="from"), document(blocks))) == (
        "from words inside 40x30"
    )
    assert text_of(ask(server, document({"type": "content", "content": "inside"}))) == "inside"


def test_a_model_of_text_alone(server: RunningServer) -> None:
    assert text_of(ask(server, "a", model=WORDS)) == "a"
    refused = anthropic_error(ask(server, image(png()), model=WORDS), 400)
    assert "reads text alone" in refused["message"]


def test_odd_characters_arrive_as_they_are(server: RunningServer) -> None:
    text = " ".join(ODD.split())
    assert text_of(ask(server, text)) == text
    assert streamed_text(events_of(server, text)) == text


@pytest.mark.parametrize(("payload", "says"), chats.BAD_IMAGES)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_bad_image_is_named_in_good_time(
    server: RunningServer, payload: bytes, says: str, is_streamed: bool
) -> None:
    began_s = time.perf_counter()
    answer = ask(server, "see", image(png()), image(payload), stream=is_streamed)
    error = anthropic_error(answer, 400)
    assert time.perf_counter() - began_s < chats.BAD_IMAGE_S
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("messages[0].content[2].source: ")
    assert says in error["message"]


URL = {"type": "url", "url": "https://example.com/cat.png"}
BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"model": None}, 400, "invalid_request_error", "model: field required"),
    ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens: field required"),
    ({"max_tokens": 0}, 400, "invalid_request_error", "at least 1"),
    ({"model": "nope"}, 404, "not_found_error", "not found"),
    ({"model": "nope", "stream": True}, 404, "not_found_error", "not found"),
    ({"model": "wordllama-256d"}, 400, "invalid_request_error", "does not write text"),
    ({"messages": []}, 400, "invalid_request_error", "messages is empty"),
    ({"messages": [], "system": "a"}, 400, "invalid_request_error", "messages is empty"),
    ({"messages": [{"role": "user"}]}, 400, "invalid_request_error", "content"),
    ({"messages": [say("a", role="robot")]}, 400, "invalid_request_error", "'robot'"),
    ({"messages": [say({"type": "image"})]}, 400, "invalid_request_error", "source: field required"),
    ({"messages": [say({"type": "image", "source": URL})]}, 400, "invalid_request_error", "not fetched"),
    ({"messages": [say(document(URL))]}, 400, "invalid_request_error", "not fetched"),
    ({"messages": [say(document({"type": "file"}))]}, 400, "invalid_request_error", "expected base64"),
    ({"messages": [say({"type": "video"})]}, 400, "invalid_request_error", "'video'"),
    ({"messages": [say({"type": "tool_use", "id": "x"}, role="assistant")]}, 400, "invalid_request_error",
     "names no tool"),
    ({"messages": [say({"type": "tool_use", "id": "x", "name": "f", "input": {}}, role="assistant")]}, 400,
     "invalid_request_error", "ends with a call"),
    ({"messages": [say(image(png()), role="assistant")]}, 400, "invalid_request_error", "only a user"),
    ({"messages": [say(*[image(png())] * 5)]}, 400, "invalid_request_error", "has 5 images, the limit is 4"),
    ({"tools": [{"input_schema": {}}]}, 400, "invalid_request_error", "tools[0].name is required"),
    ({"tools": [{"name": "f"}, {"name": "f"}]}, 400, "invalid_request_error", "same name"),
    ({"tool_choice": {"type": "any"}}, 400, "invalid_request_error", "tools is empty"),
    ({"tool_choice": {"type": "tool", "name": "g"}, "tools": [{"name": "f"}]}, 400, "invalid_request_error",
     "'g', which is not among tools"),
    ({"tool_choice": {"type": "some"}}, 400, "invalid_request_error", "'some'"),
    ({"output_config": {"format": {"type": "grammar"}}}, 400, "invalid_request_error", "json_schema"),
    ({"temperature": 1.5}, 400, "invalid_request_error", "from 0 to 1"),
    ({"stop_sequences": [""]}, 400, "invalid_request_error", "stop_sequences"),
    ({"messages": [say("a FAIL")]}, 500, "api_error", "told to fail"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "kind", "says"), BAD)
def test_refused(server: RunningServer, fields: dict[str, Any], status: int, kind: str, says: str) -> None:
    error = anthropic_error(ask(server, "a", **fields), status)
    assert error["type"] == kind
    assert says in error["message"]


def test_a_document_of_too_many_pages(server: RunningServer) -> None:
    file = {"type": "base64", "media_type": "application/pdf", "data": b64(pdf(*[""] * 5, size=(9, 9)))}
    error = anthropic_error(ask(server, document(file)), 400)
    assert "has 5 images and pages, the limit is 4" in error["message"]


def test_documents_within_documents_are_refused_however_deep(server: RunningServer) -> None:
    nested = document({"type": "text", "data": "a"})
    for depth in range(150):
        nested = document({"type": "content", "content": [nested]})
        if depth in (0, 149):
            assert "texts and images" in anthropic_error(ask(server, nested), 400)["message"]


def test_unknown_models_and_paths_in_its_shape(server: RunningServer) -> None:
    version = {"anthropic-version": "2023-06-01"}
    listed = server.http.get("/v1/models/nope", headers=version)
    assert anthropic_error(listed, 404)["type"] == "not_found_error"
    assert "code" in server.http.get("/v1/models/nope").json()["error"]
    assert anthropic_error(server.http.post(f"{PATH}/batches"), 404)["type"] == "not_found_error"
    assert anthropic_error(server.http.get(PATH), 405)["type"] == "invalid_request_error"


def test_a_wrong_key_in_its_shape(make_server: MakeServer) -> None:
    locked = make_server(env={"EMBEDDINGS_API_KEY": "secret"})
    refused = locked.http.post(PATH, json={}, headers={"x-api-key": "other"})
    assert anthropic_error(refused, 401)["type"] == "authentication_error"
    for headers in ({"x-api-key": "secret"}, {"authorization": "Bearer secret"}):
        answer = locked.http.post(PATH, json={}, headers=headers)
        assert anthropic_error(answer, 400)["message"] == "model: field required"


def test_who_leaves_frees_the_model(server: RunningServer) -> None:
    ask(server, "load it", model=SLOW)
    body = {"model": SLOW, "max_tokens": 999, "stream": True, "messages": [say(image(png()), LONG)]}
    chats.leave_midway(server, PATH, body)
    assert text_of(ask(server, "b", model=SLOW)) == "b"


def test_a_failure_midway_is_the_last_event(server: RunningServer) -> None:
    *events, last = events_of(server, "a " * 50 + "CRASH b", model=DEADLY)
    assert streamed_text(events) == " ".join(["a"] * 50)
    assert last["error"]["type"] == "api_error"
    assert "ended (signal 9)" in last["error"]["message"]
    assert last["request_id"].startswith("req_")
