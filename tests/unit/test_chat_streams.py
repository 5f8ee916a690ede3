"""How a family's frames make a stream of events: silences, failures early and late, readers who leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from turbov2.errors import InferenceFailed, TurboError
from turbov2.types import AnswerDelta, ChatEvent, ChatResult, Finish, PromptCounted, TextDelta, TextPart
from turbov2.wire import _chat
from turbov2.wire._chat import Answer, stream_answer, whole_answer
from turbov2.wire._sse import HEARTBEAT

END = ChatResult("m", Finish("stop", 1, 1), (), 0, 0)


class Words:
    """Frames that are easy to read."""

    media_type = b"text/plain"

    def __init__(self, heartbeat: bytes = b"~") -> None:
        self.heartbeat = heartbeat

    def head(self, prompt: PromptCounted | None) -> bytes:
        return b"(" if prompt is None else b"%d(" % prompt.n_prompt_tokens

    def delta(self, delta: AnswerDelta) -> bytes:
        assert isinstance(delta, TextDelta)
        return delta.text.encode()

    def end(self, result: ChatResult) -> bytes:
        return b")"

    def error(self, error: TurboError) -> bytes:
        return b"!" + error.message.encode()


class Model:
    """Writes what it is given: text, the end, an error, or waits for a float's seconds."""

    def __init__(self, *steps: str | ChatEvent | TurboError | float) -> None:
        self.steps = steps
        self.was_closed = False

    async def write(self) -> AsyncGenerator[ChatEvent, None]:
        try:
            for step in self.steps:
                if isinstance(step, TurboError):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield TextDelta(step) if isinstance(step, str) else step
        finally:
            self.was_closed = True


async def told(model: Model, heartbeat: bytes = b"~") -> bytes:
    response = await stream_answer(model.write(), Words(heartbeat))
    assert isinstance(response.body, AsyncGenerator)
    return b"".join([frame async for frame in response.body]).replace(HEARTBEAT, b"_")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chat, "_SILENCE_S", 0.02)


async def test_pieces_stand_between_head_and_end() -> None:
    model = Model("a", "b", END)
    assert await told(model) == b"(ab)"
    assert model.was_closed
    assert await whole_answer(Model("a", "b", END).write()) == Answer((TextPart("ab"),), END)


async def test_an_answer_without_a_word() -> None:
    assert await told(Model(END)) == b"()"


async def test_silences_are_filled_before_the_first_word_and_midway() -> None:
    said = await told(Model(0.1, "a", 0.1, "b", END))
    assert said.startswith(b"_")
    assert b"a~" in said
    assert said.lstrip(b"_").replace(b"~", b"") == b"(ab)"


async def test_the_prompts_length_is_in_the_head_however_late_it_is_known() -> None:
    counted, again = PromptCounted(7), PromptCounted(8)
    assert await told(Model(counted, "a", again, "b", END)) == b"7(ab)"
    said = await told(Model(0.1, counted, 0.1, "a", again, END))
    assert said.startswith(b"_")
    assert said.lstrip(b"_").replace(b"~", b"") == b"7(a)"
    assert await told(Model(0.1, counted, 0.1, "a", END), heartbeat=b"") == b"7(a)"
    assert await whole_answer(Model(counted, "a", END).write()) == Answer((TextPart("a"),), END)


async def test_what_fails_behind_the_counted_prompt_still_has_a_status() -> None:
    with pytest.raises(InferenceFailed):
        await told(Model(PromptCounted(7), InferenceFailed("no")))


async def test_a_family_without_a_sign_of_life_waits() -> None:
    assert await told(Model(0.1, "a", 0.1, "b", END), heartbeat=b"") == b"(ab)"


async def test_a_failure_before_the_first_frame_is_raised() -> None:
    for heartbeat, steps in ((b"~", ()), (b"", (0.1,))):
        model = Model(*steps, InferenceFailed("no"))
        with pytest.raises(InferenceFailed):
            await told(model, heartbeat)
        assert model.was_closed


async def test_a_later_failure_is_the_last_frame() -> None:
    assert await told(Model("a", InferenceFailed("no"))) == b"(a!no"
    assert (await told(Model(0.1, InferenceFailed("no")))).lstrip(b"_") == b"(!no"
    said = await told(Model(0.1, PromptCounted(7), 0.1, InferenceFailed("no")))
    assert said.lstrip(b"_").replace(b"~", b"") == b"7(!no"


@pytest.mark.parametrize("steps", [("a", "b", 60.0), ("a", 60.0), (60.0,)])
async def test_who_leaves_closes_the_events(steps: tuple[str | float, ...]) -> None:
    model = Model(*steps)
    response = await stream_answer(model.write(), Words())
    assert isinstance(response.body, AsyncGenerator)
    await anext(response.body)
    await response.body.aclose()
    assert model.was_closed


async def test_who_leaves_before_the_stream_begins_closes_them_too() -> None:
    model = Model(60.0)
    task = asyncio.create_task(stream_answer(model.write(), Words(b"")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.was_closed
