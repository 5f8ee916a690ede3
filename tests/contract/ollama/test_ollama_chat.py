"""POST /api/chat and /api/generate with models that write: text and images, whole or line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import DEADLY, EYES, LONG, ODD, SLOW, WORDS, b64, on_its_side, png, uri
from tests.support.server import RunningServer, loaded, ollama_error

CHAT, GENERATE = "/api/chat", "/api/generate"
COUNTS = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("ollama")) as running:
        yield running


def body_of(path: str, text: str, *images: str, **fields: Any) -> dict[str, Any]:
    """Returns the same question in the manner of either route."""
    shown = {"images": list(images)} if images else {}
    if path == GENERATE:
        return {"model": EYES, "prompt": text, **shown, **fields}
    return {"model": EYES, "messages": [{"role": "user", "content": text, **shown}], **fields}


def ask(server: RunningServer, path: str, text: str, *images: str, **fields: Any) -> httpx.Response:
    return server.http.post(path, json=body_of(path, text, *images, **{"stream": False, **fields}))


def said(line: dict[str, Any]) -> str:
    return str(line["message"]["content"] if "message" in line else line["response"])


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return said(answer.json())


def lines_of(server: RunningServer, body: dict[str, Any], path: str) -> list[dict[str, Any]]:
    with server.http.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.iter_lines()]


@pytest.mark.parametrize("path", [CHAT, GENERATE])
class TestBoth:
    def test_the_answer(self, server: RunningServer, path: str) -> None:
        ask(server, path, "load it")
        told = ask(server, path, "what is it", b64(png())).json()
        assert said(told) == "40x30 what is it"
        assert (told["model"], told["done"], told["done_reason"]) == (EYES, True, "stop")
        assert (told["prompt_eval_count"], told["eval_count"]) == (4, 4)
        answer = "message" if path == CHAT else "response"
        # The fake model measures nothing, and what is 0 is left out.
        names = COUNTS - {"prompt_eval_duration", "eval_duration"}
        assert set(told) == {"model", "created_at", answer, "done", "done_reason", *names}
        if path == CHAT:
            assert told["message"]["role"] == "assistant"

    def test_it_streams_unless_told_otherwise(self, server: RunningServer, path: str) -> None:
        *pieces, last = lines_of(server, body_of(path, LONG, b64(png())), path)
        assert "".join(map(said, pieces)) == f"40x30 {LONG}"
        answer = "message" if path == CHAT else "response"
        assert all(set(piece) == {"model", "created_at", answer, "done"} for piece in pieces)
        assert not any(piece["done"] for piece in pieces)
        assert (said(last), last["done"], last["done_reason"]) == ("", True, "stop")
        assert last["eval_count"] == 401

    def test_images_lie_as_their_exif_says_and_in_order(self, server: RunningServer, path: str) -> None:
        images = [b64(on_its_side()), uri(png(50, 10))]
        assert text_of(ask(server, path, "it", *images)) == "30x40 50x10 it"

    def test_options(self, server: RunningServer, path: str) -> None:
        def with_options(**options: Any) -> dict[str, Any]:
            return ask(server, path, "a b END c", options=options).json()

        assert (said(with_options(num_predict=2.0)), with_options(num_predict=2)["done_reason"]) == (
            "a b",
            "length",
        )
        assert said(with_options(stop=["END"])) == "a b"
        for limit in (-1, -2, 0, 10**9):
            assert said(with_options(num_predict=limit)) == "a b END c"
        n8n = {"top_k": -1, "top_p": 0.9, "temperature": 0.8, "repeat_penalty": 1.0, "presence_penalty": 0.0,
               "frequency_penalty": 0.0, "seed": -1, "mirostat": 0, "num_ctx": 2048, "nonsense": "x",
               "min_p": None}  # fmt: skip
        assert said(with_options(**n8n)) == "a b END c"

    def test_fields_that_change_nothing(self, server: RunningServer, path: str) -> None:
        ignored = {"tools": [], "format": "", "think": False, "logprobs": False, "truncate": True,
                   "keep_alive": "5m", "shift": True, "system": None, "options": None}  # fmt: skip
        assert text_of(ask(server, path, "a", **ignored)) == "a"

    def test_a_model_of_text_alone(self, server: RunningServer, path: str) -> None:
        assert text_of(ask(server, path, "a", model=WORDS)) == "a"
        refused = ask(server, path, "a", b64(png()), model=WORDS)
        assert "reads text alone" in ollama_error(refused, 400)

    def test_odd_characters_arrive_as_they_are(self, server: RunningServer, path: str) -> None:
        text = " ".join(ODD.split())
        assert text_of(ask(server, path, text)) == text
        assert "".join(map(said, lines_of(server, body_of(path, text), path))) == text

    @pytest.mark.parametrize(("payload", "says"), chats.BAD_IMAGES)
    @pytest.mark.parametrize("is_streamed", [False, True])
    def test_a_bad_image_is_named_in_good_time(
        self, server: RunningServer, path: str, payload: bytes, says: str, is_streamed: bool
    ) -> None:
        began_s = time.perf_counter()
        answer = ask(server, path, "a", b64(png()), b64(payload), stream=is_streamed)
        error = ollama_error(answer, answer.status_code)
        assert time.perf_counter() - began_s < chats.BAD_IMAGE_S
        assert answer.status_code in (400, 413, 415)
        where = "images[1]" if path == GENERATE else "messages[0].images[1]"
        assert error.startswith(f"{where}: ")
        assert says in error

    @pytest.mark.parametrize(
        ("fields", "status", "says"),
        [
            ({"model": "nope"}, 404, "not found"),
            ({"model": "embedder-of-none"}, 404, "not found"),
            ({"model": "wordllama-256d"}, 400, '"wordllama-256d" does not support'),
            ({"format": "xml"}, 400, "format is 'xml', expected 'json' or a JSON schema"),
            ({"logprobs": True}, 400, "logprobs"),
            ({"options": {"presence_penalty": 3}}, 400, "from -2 to 2"),
            ({"options": {"temperature": -1}}, 400, "from 0 to 2"),
            ({"options": {"num_predict": 1e300}}, 400, "num_predict"),
            ({"options": {"temperature": "warm"}}, 400, "temperature"),
            ({"keep_alive": "5"}, 400, "keep_alive"),
        ],
    )
    def test_refused(
        self, server: RunningServer, path: str, fields: dict[str, Any], status: int, says: str
    ) -> None:
        for is_streamed in (False, True):
            answer = ask(server, path, "a", **fields, stream=is_streamed)
            assert says in ollama_error(answer, status)

    def test_images_that_are_none(self, server: RunningServer, path: str) -> None:
        url = ask(server, path, "a", "https://example.com/cat.png")
        assert "not fetched" in ollama_error(url, 400)
        assert "base64" in ollama_error(ask(server, path, "a", "§§"), 400)
        assert "empty" in ollama_error(ask(server, path, "a", ""), 400)
        many = ask(server, path, "a", *[b64(png())] * 5)
        assert "has 5 images, the limit is 4" in ollama_error(many, 400)

    def test_loading_and_unloading(self, server: RunningServer, path: str) -> None:
        nothing = {"model": WORDS, "messages": []} if path == CHAT else {"model": WORDS}
        for keep_alive, reason in (("5m", "load"), (0, "unload")):
            answer = server.http.post(path, json={**nothing, "keep_alive": keep_alive}).json()
            assert (said(answer), answer["done"], answer["done_reason"]) == ("", True, reason)
            assert (WORDS in loaded(server)) == (reason == "load")

    def test_who_leaves_frees_the_model(self, server: RunningServer, path: str) -> None:
        ask(server, path, "load it", model=SLOW)
        chats.leave_midway(server, path, body_of(path, LONG, b64(png()), model=SLOW))
        assert text_of(ask(server, path, "b", model=SLOW)) == "b"

    def test_a_failure_midway_is_the_last_line(self, server: RunningServer, path: str) -> None:
        *pieces, last = lines_of(server, body_of(path, "a " * 50 + "CRASH b", model=DEADLY), path)
        assert "".join(map(said, pieces)) == " ".join(["a"] * 50)
        assert set(last) == {"error"}
        assert "ended (signal 9)" in last["error"]


def test_a_whole_conversation(server: RunningServer) -> None:
    messages = [
        {"role": "SYSTEM", "content": "be brief"},
        {"role": "user", "content": "one", "images": [b64(png(10, 10))]},
        {"role": "assistant", "content": "two", "thinking": "hm", "tool_calls": []},
        {"role": "user", "content": "three", "images": [b64(png(20, 10)), b64(png(30, 10))]},
    ]
    answer = server.http.post(CHAT, json={"model": EYES, "messages": messages, "stream": False})
    assert text_of(answer) == "be brief 10x10 one two 20x10 30x10 three"


def test_a_system_message_of_generate(server: RunningServer) -> None:
    assert text_of(ask(server, GENERATE, "two", system="one")) == "one two"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"raw": True, "system": "a"}, "raw takes a prompt alone, without system"),
        ({"raw": True, "images": ["aaaa"]}, "without images"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "/api/chat"),
        ({"suffix": "}"}, "does not support insert"),
    ],
)
def test_what_generate_refuses(server: RunningServer, fields: dict[str, Any], says: str) -> None:
    assert says in ollama_error(ask(server, GENERATE, "a", **fields), 400)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "names no tool"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "ends with a call"),
        ({"role": "robot", "content": "a"}, "messages[0].role is 'robot'"),
        ({"role": "system", "images": ["aaaa"]}, "only a user shows one"),
        ({"content": "a"}, "role"),
    ],
)
def test_what_chat_refuses(server: RunningServer, message: dict[str, Any], says: str) -> None:
    answer = server.http.post(CHAT, json={"model": EYES, "messages": [message]})
    assert says in ollama_error(answer, 400)


def test_chat_needs_a_model(server: RunningServer) -> None:
    assert ollama_error(server.http.post(CHAT, json={"messages": []}), 400) == "model is required"
