"""The official Python client of OpenAI on sound, unchanged. Rows 22 and 23 of the compatibility matrix."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import EARS, ears_server, recording, words
from tests.support.server import RunningServer

SOUND = ("talk.wav", recording(12, silent=(3, 4)))
TEXT = words(12, silent=(3, 4))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("ears")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_json(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model=EARS, file=SOUND)
    assert answer.text == TEXT
    assert answer.usage is not None
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 12.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["text", "srt", "vtt"])
def test_plain_formats(client: openai.OpenAI, kind: str) -> None:
    answer = client.audio.transcriptions.create(model=EARS, file=SOUND, response_format=kind)  # type: ignore[call-overload]
    assert isinstance(answer, str)
    assert "s0 s1 s2" in answer


def test_verbose_json(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model=EARS,
        file=SOUND,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        prompt="numbers",
        temperature=0.2,
        language="en",
    )
    assert (answer.text, answer.language, answer.duration) == (TEXT, "english", 12.0)
    assert answer.words is not None
    assert [word.word for word in answer.words] == TEXT.split()
    assert answer.segments is not None
    assert [segment.id for segment in answer.segments] == [0, 1, 2]
    assert answer.segments[1].start == 5.0


def test_a_stream(client: openai.OpenAI) -> None:
    deltas, done = [], None
    for event in client.audio.transcriptions.create(model=EARS, file=SOUND, stream=True):
        if event.type == "transcript.text.delta":
            deltas.append(event.delta)
        elif event.type == "transcript.text.done":
            done = event
    assert "".join(deltas) == TEXT
    assert done is not None
    assert done.text == TEXT
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own
def test_translations(client: openai.OpenAI) -> None:
    answer = client.audio.translations.create(model=EARS, file=SOUND)
    assert answer.text == TEXT.replace("s", "t")
    verbose = client.audio.translations.create(model=EARS, file=SOUND, response_format="verbose_json")
    assert verbose.language == "english"


def test_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.transcriptions.create(model="nope", file=SOUND)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as unknown:
        client.audio.transcriptions.create(model=EARS, file=SOUND, language="xx")
    assert unknown.value.param == "language"
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model=EARS, file=("talk.wav", SOUND[1][:100_000]))
