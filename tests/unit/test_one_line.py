"""JSON that readers of lines take for one line."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.types import TextDelta
from turbov2.wire._chat import Frames
from turbov2.wire._http import NDJSON, Limits
from turbov2.wire._lines import json_line
from turbov2.wire._sse import SSE
from turbov2.wire.anthropic.adapt import parse_messages
from turbov2.wire.anthropic.stream import MessageEvents
from turbov2.wire.native.page_stream import page_stream
from turbov2.wire.openai.chat import parse_chat
from turbov2.wire.openai.chat_answers import Chunks

LIMITS = Limits(max_body_bytes=1000, max_texts=1, max_text_chars=100, max_upload_bytes=1000)
BREAKING = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven"


@given(st.text(alphabet=st.sampled_from('a\\"\n\r\x0b\x0c\x1c\x85\u2028\u2029ä€𝄞')))
def test_a_value_stays_on_its_line(text: str) -> None:
    line = json_line({"text": text})
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == {"text": text}


class Page(NamedTuple):
    n_pages: int
    text: str


async def pages() -> AsyncGenerator[Page, None]:
    yield Page(1, BREAKING)


def chat_frames() -> Frames:
    body = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'
    return Chunks(parse_chat(body, LIMITS))


def message_frames() -> Frames:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}'
    return MessageEvents(parse_messages(body, LIMITS), "req_1")


@pytest.mark.parametrize(
    ("frames", "text_in"),
    [
        (chat_frames(), lambda told: told["choices"][0]["delta"]["content"]),
        (message_frames(), lambda told: told["delta"]["text"]),
    ],
)
def test_an_answers_words_stay_on_their_line(frames: Frames, text_in: Callable[[Any], str]) -> None:
    lines = frames.delta(TextDelta(BREAKING)).decode().splitlines()
    assert {line.partition(" ")[0] for line in lines} <= {"event:", "data:", ""}
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert text_in(told[-1]) == BREAKING


@pytest.mark.parametrize("kind", [NDJSON, SSE])
async def test_a_page_stays_on_its_line(kind: bytes) -> None:
    answer = await page_stream(pages(), lambda page: msgspec.json.encode({"text": page.text}), kind)
    assert not isinstance(answer.body, bytes)
    told = b"".join([frame async for frame in answer.body]).decode()
    lines = [line.removeprefix("data: ") for line in told.splitlines() if '"text"' in line]
    assert [json.loads(line) for line in lines] == [{"text": BREAKING}]
