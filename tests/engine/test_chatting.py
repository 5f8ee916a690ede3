"""Conversations of one engine: images in their order, documents page by page, limits, errors with names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from PIL import Image

from tests.support.pdfs import pdf
from tests.support.pictures import packed, png_bomb
from turbov2.catalog import Catalog, ModelSpec, PathWeights
from turbov2.engine import LocalEngine
from turbov2.errors import BadMedia, InvalidRequest, MediaTooLarge, NotCapable, TurboError, UnsupportedMedia
from turbov2.settings import load_settings
from turbov2.types import (
    CallBegun,
    CallDelta,
    ChatRequest,
    ChatResult,
    Context,
    ImageFacts,
    ImagePart,
    ImageSource,
    PromptCounted,
    PromptMessage,
    Sampling,
    TextDelta,
    TextPart,
    ThinkingDelta,
    Tool,
)

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]
CONTEXT = Context("request-1")
MAX_IMAGES, MAX_PIXELS = 5, 40_000


def writer(folder: Path, name: str, capability: str, **fields: Any) -> ModelSpec:
    (folder / "model.safetensors").write_bytes(b"dummy")
    options = {"is_writer": True, **fields}
    weights = PathWeights(str(folder))
    return ModelSpec(name, capability, "fake", "process", weights, options=options)  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    folder = tmp_path_factory.mktemp("chatting")
    specs = [
        writer(folder, "eyes", "vision"),
        writer(folder, "words", "generate", delay_s_per_token=0.02),
        writer(folder, "agent", "generate", thinks=True, calls_tools=True),
    ]
    environment = {
        "TURBOV2_HOME": str(folder / "home"),
        "TURBOV2_PRELOAD": ",",
        "TURBOV2_MAX_IMAGES": str(MAX_IMAGES),
        "TURBOV2_MEDIA_MAX_PIXELS": str(MAX_PIXELS),
    }
    engine = LocalEngine(Catalog([*specs, writer(folder, "reader", "ocr")]), load_settings(environment))
    await engine.start()
    yield engine
    await engine.stop()


def image(width: int, height: int = 10) -> bytes:
    return packed(Image.new("RGB", (width, height)), "PNG")


def of(images: Sequence[ImageSource], *parts: str | int, model: str = "eyes", **sampling: Any) -> ChatRequest:
    said = tuple(TextPart(each) if isinstance(each, str) else ImagePart(each) for each in parts)
    return ChatRequest(model, (PromptMessage("user", said),), tuple(images), Sampling(**sampling))


async def answer(engine: LocalEngine, request: ChatRequest) -> tuple[str, ChatResult]:
    counted, *pieces, result = [event async for event in engine.chat(request, CONTEXT)]
    assert isinstance(result, ChatResult)
    assert counted == PromptCounted(result.finish.n_prompt_tokens)
    assert all(isinstance(piece, TextDelta) for piece in pieces)
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)), result


async def test_a_conversation_without_images(engine: LocalEngine) -> None:
    turns = (("system", "be brief"), ("user", "one"), ("assistant", "two"), ("user", "three END four"))
    messages = tuple(PromptMessage(role, (TextPart(text),)) for role, text in turns)  # type: ignore[arg-type]
    for model in ("words", "eyes"):
        text, result = await answer(engine, ChatRequest(model, messages, (), Sampling(stop=("END",))))
        assert text == "be brief one two three"
        assert (result.model, result.images) == (model, ())
        assert (result.finish.reason, result.finish.stopped_by) == ("stop", "END")


LS = Tool("ls", "lists files", "{}")


def told_to_call(*lines: str, **fields: Any) -> ChatRequest:
    return ChatRequest("agent", (PromptMessage("user", (TextPart("\n".join(lines)),)),), **fields)


async def test_thoughts_and_calls_are_told_as_what_they_are(engine: LocalEngine) -> None:
    request = told_to_call('CALL ls {"a": 1}', "CALL ls {}", tools=(LS,))
    _, *deltas, result = [event async for event in engine.chat(request, CONTEXT)]
    assert isinstance(result, ChatResult)
    assert result.finish.reason == "tool_calls"
    kinds = [kind for kind, _ in groupby(deltas, type)]
    assert kinds == [ThinkingDelta, TextDelta, CallBegun, CallDelta, CallBegun, CallDelta]
    assert "".join(each.text for each in deltas if isinstance(each, ThinkingDelta)) == "I read 7 words."
    assert "".join(each.text for each in deltas if isinstance(each, TextDelta)) == "I call."
    first, arguments, second, nothing = deltas[-4:]
    assert isinstance(first, CallBegun)
    assert isinstance(second, CallBegun)
    assert first.name == second.name == "ls"
    assert first.id != second.id
    assert (arguments, nothing) == (CallDelta('{"a":1}'), CallDelta("{}"))


async def test_a_call_that_met_the_limit_is_none(engine: LocalEngine) -> None:
    request = told_to_call('CALL ls {"a": 1}', tools=(LS,), thinks=False, sampling=Sampling(max_tokens=5))
    _, *deltas, result = [event async for event in engine.chat(request, CONTEXT)]
    assert isinstance(result, ChatResult)
    assert result.finish.reason == "length"
    assert {type(delta) for delta in deltas} == {TextDelta}


async def test_a_raw_prompt_is_answered_as_it_is_written(engine: LocalEngine) -> None:
    text, _ = await answer(engine, told_to_call("a", is_raw=True))
    assert text == "<think>\nI read 1 words.\n</think>\n\na"


async def test_tokens_are_counted_as_an_answer_counts_them(engine: LocalEngine) -> None:
    sources = [ImageSource(image(20)), ImageSource(pdf("", "", size=(72, 36)), None)]
    request = of(sources, 0, "a b", 1)
    assert await engine.count_tokens(request, CONTEXT) == 5
    assert (await answer(engine, request))[1].finish.n_prompt_tokens == 5
    assert await engine.count_tokens(told_to_call("a b", tools=(LS,)), CONTEXT) == 5
    with pytest.raises(BadMedia):
        await engine.count_tokens(of([ImageSource(image(9)[:40])], 0), CONTEXT)
    with pytest.raises(NotCapable):
        await engine.count_tokens(of([], "a", model="reader"), CONTEXT)


async def test_counting_waits_for_no_answer(engine: LocalEngine) -> None:
    events = engine.chat(of([], " ".join(["word"] * 900), model="words"), CONTEXT)
    await anext(events)
    assert await asyncio.wait_for(engine.count_tokens(of([], "a", model="words"), CONTEXT), 2) == 1
    await events.aclose()


async def test_images_stand_where_the_messages_say(engine: LocalEngine) -> None:
    sources = [ImageSource(image(20)), ImageSource(image(30)), ImageSource(image(40))]
    messages = (
        PromptMessage("user", (TextPart("first"), ImagePart(2), ImagePart(0))),
        PromptMessage("assistant", (TextPart("yes"),)),
        PromptMessage("user", (ImagePart(1), TextPart("last"))),
    )
    text, result = await answer(engine, ChatRequest("eyes", messages, tuple(sources)))
    assert text == "first 40x10 20x10 yes 30x10 last"
    assert [each.width_px for each in result.images] == [20, 30, 40]
    assert result.finish.n_tiles == 3


async def test_a_document_is_an_image_a_page(engine: LocalEngine) -> None:
    document = pdf("", "", size=(72, 36))
    sources = [ImageSource(image(20)), ImageSource(document, None), ImageSource(document, 1)]
    text, result = await answer(engine, of(sources, 0, "pages", 1, "page", 2))
    assert text == "20x10 pages 110x55 110x55 page 110x55"
    page = ImageFacts("PDF", 110, 55, 2)
    assert result.images == (ImageFacts("PNG", 20, 10, 1), page, page, page)


@pytest.mark.parametrize(
    ("sources", "error", "says"),
    [
        ([ImageSource(b"x")] * 6, InvalidRequest, "has 6 images, the limit is 5; .* TURBOV2_MAX_IMAGES"),
        ([ImageSource(pdf(*[""] * 4, size=(9, 9)), None, "a"), *[ImageSource(image(9))] * 2], InvalidRequest,
         "has 6 images and pages, the limit is 5"),
        ([ImageSource(image(9)), ImageSource(image(9)[:40], 0, "images[1]")], BadMedia, r"^images\[1\]: "),
        ([ImageSource(b"just a text", 0, "images[0]")], UnsupportedMedia, r"^images\[0\]: "),
        ([ImageSource(b"just a text", None, "documents[0]")], UnsupportedMedia, r"^documents\[0\]: "),
        ([ImageSource(png_bomb(60_000, 60_000), 0, "images[0]")], MediaTooLarge, r"^images\[0\]: "),
        ([ImageSource(image(100, 101), 0, "a")] * 4, MediaTooLarge, "more than 40000 pixels together"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_images_is_told_in_good_time(
    engine: LocalEngine, sources: list[ImageSource], error: type[TurboError], says: str
) -> None:
    await answer(engine, of([], "load it"))
    began_s = time.perf_counter()
    with pytest.raises(error, match=says):
        await answer(engine, of(sources, *range(len(sources)), "what"))
    assert time.perf_counter() - began_s < 2
    assert (await answer(engine, of([], "fine")))[0] == "fine"


async def test_who_cannot_see_or_write_says_so(engine: LocalEngine) -> None:
    seen = [ImageSource(image(9))]
    with pytest.raises(NotCapable, match="reads text alone"):
        await answer(engine, of(seen, 0, "what", model="words"))
    with pytest.raises(NotCapable, match="answers no questions"):
        await answer(engine, of(seen, 0, "what", model="reader"))
    with pytest.raises(NotCapable, match="does not write text, it is for: ocr"):
        await answer(engine, of([], "what", model="reader"))


async def test_who_leaves_stops_the_model(engine: LocalEngine) -> None:
    events = engine.chat(of([], " ".join(["word"] * 900), model="words"), CONTEXT)
    await anext(events)
    began_s = time.perf_counter()
    await events.aclose()
    assert time.perf_counter() - began_s < 1
    assert (await answer(engine, of([], "next", model="words")))[0] == "next"


async def test_who_leaves_while_images_are_read_leaves_nothing_behind(engine: LocalEngine) -> None:
    sources = [ImageSource(image(90, 90))] * MAX_IMAGES
    task = asyncio.create_task(answer(engine, of(sources, *range(MAX_IMAGES))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await answer(engine, of(sources[:2], 0, 1)))[0] == "90x90 90x90"


async def test_as_many_images_as_a_frame_holds(tmp_path: Path) -> None:
    environment = {
        "TURBOV2_HOME": str(tmp_path / "home"),
        "TURBOV2_PRELOAD": ",",
        "TURBOV2_MAX_IMAGES": "256",
    }
    engine = LocalEngine(Catalog([writer(tmp_path, "eyes", "vision")]), load_settings(environment))
    await engine.start()
    document = pdf(*[""] * 256, size=(18, 9))
    text, _ = await answer(engine, of([ImageSource(document, None)], 0))
    await engine.stop()
    assert text.split() == ["28x14"] * 256
