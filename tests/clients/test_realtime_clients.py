"""OpenAI's realtime transcription sessions, by its official Python client, unchanged, and event by event."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from websockets.exceptions import InvalidStatus

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import EARS, ears_server
from tests.support.mouths import Mouth, Samples, mouth, refused, tones
from tests.support.server import RunningServer, metric, until
from turbov2.speech.resampling import Resampler

RATE_HZ = 24_000
SOUND = tones(6, (3, 4, 5))
INTENT = {"intent": "transcription"}
PATH = "/v1/realtime"
ITEM = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("realtime")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def pieces(samples: Samples, rate_hz: int = RATE_HZ) -> Iterator[str]:
    """Yields 40 ms after the other, as base64."""
    sound = samples if rate_hz == 16_000 else Resampler(16_000, rate_hz).feed(samples)
    step = rate_hz // 25
    for first in range(0, len(sound), step):
        yield base64.b64encode(sound[first : first + step].astype("<i2").tobytes()).decode()


def session(**transcription: Any) -> dict[str, Any]:
    return {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": RATE_HZ},
                "transcription": {"model": EARS, "language": "en", **transcription},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
            }
        },
    }


def append(live: Mouth, samples: Samples, rate_hz: int = RATE_HZ) -> None:
    for piece in pieces(samples, rate_hz):
        live.say(type="input_audio_buffer.append", audio=piece)


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")  # the client's own
def test_the_official_client(client: openai.OpenAI, server: RunningServer) -> None:
    told = []
    with client.realtime.connect(extra_query=INTENT) as connection:
        connection.session.update(session=session())  # type: ignore[arg-type]
        for piece in pieces(SOUND):
            connection.input_audio_buffer.append(audio=piece)
        for event in connection:
            told.append(event)
            if event.type == f"{ITEM}.completed":
                break
    kinds = [event.type for event in told]
    assert kinds[:3] == ["session.created", "session.updated", "input_audio_buffer.speech_started"]
    assert kinds.index("input_audio_buffer.speech_stopped") < kinds.index("input_audio_buffer.committed")
    assert len({event.event_id for event in told}) == len(told)
    completed = told[-1]
    assert completed.transcript == "s0 s1 s2"
    assert completed.usage.type == "duration"
    assert completed.usage.seconds == pytest.approx(3.4, abs=0.1)
    deltas = [event for event in told if event.type == f"{ITEM}.delta"]
    assert "".join(delta.delta or "" for delta in deltas) == completed.transcript
    items = {event.item_id for event in told if hasattr(event, "item_id")}
    assert items == {completed.item_id}
    # The client left when all was told: that is how such a session ends.
    until(lambda: metric(server, "turbov2_requests_ended_total", model=EARS, outcome="answered") >= 1)
    assert metric(server, "turbov2_http_requests_total", route=PATH, status="101") == 1


async def test_the_official_client_async(server: RunningServer) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client,
        client.realtime.connect(extra_query=INTENT, model=EARS) as connection,
    ):
        for piece in pieces(SOUND):
            await connection.input_audio_buffer.append(audio=piece)
        async for event in connection:
            if event.type == f"{ITEM}.completed":
                assert event.transcript == "s0 s1 s2"
                break


def test_the_client_commits(server: RunningServer) -> None:
    with mouth(server, "intent=transcription", PATH) as live:
        created = live.until("session.created")["session"]
        assert created["audio"]["input"]["transcription"]["model"] == "whisper-base"
        assert created["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        live.say(
            type="session.update",
            session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
        )
        updated = live.until("session.updated")["session"]["audio"]["input"]
        assert updated["turn_detection"] is None
        live.say(type="input_audio_buffer.commit", event_id="mine")
        error = live.until("error")["error"]
        assert error["code"] == "input_audio_buffer_commit_empty"
        append(live, tones(65))  # longer than is read at once
        live.say(type="input_audio_buffer.commit")
        first = live.until("input_audio_buffer.committed")
        assert first["previous_item_id"] is None
        completed = live.until(f"{ITEM}.completed")
        assert completed["item_id"] == first["item_id"]
        assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(65, abs=0.01)}
        assert len(completed["transcript"].split()) >= 65
        append(live, tones(1))
        live.say(type="input_audio_buffer.clear")
        live.until("input_audio_buffer.cleared")
        append(live, tones(2))
        live.say(type="input_audio_buffer.commit")
        second = live.until("input_audio_buffer.committed")
        assert second["previous_item_id"] == first["item_id"]
        assert live.until(f"{ITEM}.completed")["transcript"] == "s0 s1"
    kinds = [event["type"] for event in live.told]
    assert not [kind for kind in kinds if "speech" in kind]
    assert kinds.index(f"{ITEM}.delta") > kinds.index("input_audio_buffer.committed")


def test_the_beta_is_still_spoken(server: RunningServer) -> None:
    headers = {"OpenAI-Beta": "realtime=v1"}
    with mouth(server, "intent=transcription", PATH, additional_headers=headers) as live:
        assert live.hear()["type"] == "transcription_session.created"
        live.say(
            type="transcription_session.update",
            session={
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"model": EARS, "language": "en", "prompt": "numbers"},
                "turn_detection": {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 200},
            },
        )
        updated = live.until("transcription_session.updated")["session"]
        assert updated["input_audio_transcription"] == {"model": EARS, "language": "en", "prompt": "numbers"}
        assert updated["turn_detection"] == {
            "type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 200, "silence_duration_ms": 500,
        }  # fmt: skip
        append(live, SOUND)
        assert live.until(f"{ITEM}.completed")["transcript"] == "s0 s1 s2"


def test_sixteen_kilohertz(server: RunningServer) -> None:
    update = session()
    update["audio"]["input"]["format"]["rate"] = 16_000
    with mouth(server, "intent=transcription", PATH) as live:
        live.say(type="session.update", session=update)
        append(live, SOUND, 16_000)
        assert live.until(f"{ITEM}.completed")["transcript"] == "s0 s1 s2"


def test_mistakes_are_told_and_the_session_goes_on(server: RunningServer) -> None:
    updates: list[tuple[dict[str, Any], str]] = [
        ({"type": "realtime"}, "not_supported"),
        (session(model="nope"), "model_not_found"),
        (session(language="xx"), "invalid_request"),
        ({"include": ["item.input_audio_transcription.logprobs"]}, "not_supported"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "not_supported"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "not_supported"),
        ({"include": 5}, "invalid_request"),
        ({"audio": [1]}, "invalid_request"),
    ]
    wrong: list[tuple[dict[str, Any], str]] = [
        *(({"type": "session.update", "session": update}, code) for update, code in updates),
        ({"type": "session.update"}, "invalid_request"),
        ({"type": "response.create"}, "not_supported"),
        ({"type": "input_audio_buffer.append", "audio": "no base64!"}, "invalid_request"),
    ]
    with mouth(server, "intent=transcription", PATH) as live:
        for number, (event, code) in enumerate(wrong):
            live.say(event_id=f"mine {number}", **event)
            error = live.until("error")["error"]
            assert (error["code"], error["event_id"]) == (code, f"mine {number}"), event
        for garbage in ("nothing", b"\0\1", "[1]"):
            live.connection.send(garbage)
            assert live.until("error")["error"]["type"] == "invalid_request_error"
        live.say(type="session.update", session=session())
        live.until("session.updated")
        append(live, SOUND[:16_000])
        live.say(type="session.update", session=session(model="slow-ears"))
        assert "once there was sound" in live.until("error")["error"]["message"]
        append(live, SOUND[16_000:])
        assert live.until(f"{ITEM}.completed")["transcript"] == "s0 s1 s2"


@pytest.mark.parametrize("query", ["", "model=whisper-base", "intent=conversation"])
def test_sessions_that_answer_are_not_here(server: RunningServer, query: str) -> None:
    status, body, _ = refused(server, query, PATH)
    assert status == 501
    assert "intent=transcription" in body["error"]["message"]


def test_a_model_that_is_wrong_is_told_before_the_session(client: openai.OpenAI) -> None:
    with pytest.raises(InvalidStatus) as wrong, client.realtime.connect(model="nope", extra_query=INTENT):
        pass
    assert wrong.value.response.status_code == 404


def test_how_a_browser_brings_its_key(server: RunningServer) -> None:
    protocols = ["realtime", "openai-insecure-api-key.any", "openai-beta.realtime-v1"]
    with mouth(server, "intent=transcription", PATH, subprotocols=protocols) as live:
        assert live.connection.subprotocol == "realtime"
        assert live.hear()["type"] == "transcription_session.created"


def test_noise_gives_no_words(server: RunningServer) -> None:
    with mouth(server, f"intent=transcription&model={EARS}", PATH) as live:
        append(live, np.zeros(32_000, np.int16))
        live.say(type="input_audio_buffer.commit")
        assert live.until("error")["error"]["code"] == "input_audio_buffer_commit_empty"
