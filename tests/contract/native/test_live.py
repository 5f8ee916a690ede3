"""GET /api/transcribe/live: a microphone's samples in, text out, over a real WebSocket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import websockets

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import EARS, POOR, ears_models, ears_server, recording
from tests.support.mouths import Mouth, handshake, mouth, refused, tones
from tests.support.server import INLINE, MakeServer, RunningServer, leases, metric, until
from turbov2.speech.resampling import Resampler

SILENT = (3, 4, 8, 9)
SOUND = tones(10, SILENT)  # somebody speaks from 0 to 3 and from 5 to 8
LIVE = "/api/transcribe/live"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("live")) as running:
        yield running


def hear(server: RunningServer, query: str = "", n_seconds: int = 10, frame_s: float = 0.05) -> Mouth:
    """Returns a session that has ended well."""
    with mouth(server, query) as session:
        session.speak(tones(n_seconds, SILENT), frame_s)
        session.say(type="end")
        assert session.rest() == (1000, "")
    return session


def names(session: Mouth) -> list[str]:
    return [event["event"] for event in session.told]


def test_what_is_told(server: RunningServer) -> None:
    told = hear(server, "language=en").told
    assert told[0] == {"event": "started", "model": EARS}
    of_first = [event for event in told if event.get("utterance") == 0]
    assert of_first[0] == {"event": "speech_started", "utterance": 0, "start": 0.0}
    stopped = next(event for event in of_first if event["event"] == "speech_stopped")
    assert stopped["end"] == pytest.approx(3.5, abs=0.1)
    final = of_first[-1]
    assert (final["event"], final["text"], final["language"]) == ("final", "s0 s1 s2", "en")
    assert (final["start"], final["end"]) == (0.0, stopped["end"])
    assert [(s["id"], s["start"], s["end"], s["text"]) for s in final["segments"]] == [
        (0, 0.0, 2.9, "s0 s1 s2")
    ]
    second = [event for event in told if event["event"] == "final"][1]
    assert second["start"] == pytest.approx(4.7, abs=0.07)
    assert second["segments"][0]["id"] == 1
    done = told[-1]
    assert (done["event"], done["model"], done["duration"], done["utterances"]) == ("done", EARS, 10.0, 2)
    assert set(done["timings"]) == {"load_ms", "queue_ms", "inference_ms"}


@pytest.mark.parametrize("frame_s", [0.02, 0.1, 3.0])
def test_a_final_text_is_that_of_a_file_of_the_same_samples(server: RunningServer, frame_s: float) -> None:
    query = "word_timestamps=true&language=fr"
    finals = hear(server, query, frame_s=frame_s).finals()
    assert len(finals) == 2
    for final in finals:
        fields = {"start": final["start"], "end": final["end"], "language": "fr", "word_timestamps": "true"}
        files = {"file": ("talk.wav", recording(10, SILENT))}
        body = server.http.post("/api/transcribe", files=files, data=fields).json()
        n_before = final["segments"][0]["id"]
        expected = [segment | {"id": segment["id"] + n_before} for segment in body["segments"]]
        assert final["segments"] == expected
        assert final["text"] == body["text"]


def test_text_is_told_while_somebody_speaks(server: RunningServer) -> None:
    with mouth(server) as session:
        session.speak(tones(2))
        partial = session.until("partial")
        assert partial["utterance"] == 0
        assert partial["text"].startswith("s0")
        assert 0 == partial["start"] < partial["end"] <= 2
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert session.finals()[0]["text"] == "s0 s1"
    assert "partial" not in names(hear(server, "partials=false"))


def test_what_is_too_long_is_cut_where_it_is_quiet(server: RunningServer) -> None:
    sound = tones(70)
    sound[25 * 16_000 : 25 * 16_000 + 4_000] //= 2  # no silence: the voice goes on
    with mouth(server, "language=en") as session:
        session.speak(sound, 1.0)
        session.say(type="end")
        assert session.rest() == (1000, "")
    first, second, third = session.finals()
    assert first["end"] == pytest.approx(25.1, abs=0.15)
    assert (second["start"], third["start"]) == (first["end"], second["end"])
    assert all(each["end"] - each["start"] <= 30 for each in session.finals())
    assert third["end"] == 70
    stopped = [event for event in session.told if event["event"] == "speech_stopped"]
    assert [event.get("has_more", False) for event in stopped] == [True, True, False]


def test_the_client_ends_an_utterance_or_drops_it(server: RunningServer) -> None:
    with mouth(server, "turns=false&language=en") as session:
        session.say(type="commit")
        assert session.until("nothing_said") == {"event": "nothing_said"}
        session.speak(tones(2))
        session.say(type="commit")
        assert session.until("final")["text"] == "s0 s1"
        session.speak(tones(2))
        session.say(type="clear")
        session.until("cleared")
        session.speak(tones(1))
        session.say(type="end")
        assert session.rest() == (1000, "")
    first, second = session.finals()
    assert (first["start"], first["end"]) == (0, 2)
    assert (second["start"], second["end"], second["text"]) == (4, 5, "s0")


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
def test_other_rates(server: RunningServer, rate_hz: int) -> None:
    sound = np.concatenate((tones(3), np.zeros(16_000, np.int16)))
    other = Resampler(16_000, rate_hz).feed(sound)
    with mouth(server, f"sample_rate={rate_hz}&language=en") as session:
        session.speak(other, 0.02, rate_hz)
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert session.told[-1]["duration"] == pytest.approx(4, abs=0.01)
    assert session.finals()[0]["text"] == "s0 s1 s2"


def test_a_sample_may_lie_in_two_messages(server: RunningServer) -> None:
    raw = tones(2).tobytes()
    with mouth(server, "language=en") as session:
        for first in range(0, len(raw), 333):
            session.connection.send(raw[first : first + 333])
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert session.finals()[0]["text"] == "s0 s1"


@pytest.mark.parametrize(
    ("query", "status", "names_it"),
    [
        ("model=nope", 404, "nope"),
        (f"model={INLINE}", 400, "transcribe"),
        (f"model={POOR}&task=translate", 400, "translate"),
        ("language=xx", 400, "language"),
        ("sample_rate=11025", 400, "sample_rate"),
        ("silence_duration_ms=1", 400, "silence_duration_ms"),
        ("threshold=2", 400, "threshold"),
    ],
)
def test_what_is_wrong_is_answered_by_http(
    server: RunningServer, query: str, status: int, names_it: str
) -> None:
    answered, body, _ = refused(server, query)
    assert answered == status
    assert names_it in body["error"]


def test_http_and_websockets_are_not_mixed_up(server: RunningServer) -> None:
    answer = server.http.get(LIVE)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in answer.json()["error"]
    status, body, _ = refused(server, path="/api/tags")
    assert status == 400
    assert "WebSocket" in body["error"]
    assert refused(server, path="/nope")[0] == 404


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("garbage", 1008, "invalid_request"),
        ('{"type":"speak"}', 1008, "invalid_request"),
        ('{"type":7}', 1008, "invalid_request"),
        ("[" * 100_000, 1008, "invalid_request"),
    ],
)
def test_messages_that_mean_nothing(server: RunningServer, message: str, code: int, reason: str) -> None:
    with mouth(server) as session:
        session.connection.send(message)
        assert session.rest() == (code, reason)
    assert session.told[-1]["event"] == "error"
    assert session.told[-1]["code"] == reason


def test_half_a_sample_at_the_end(server: RunningServer) -> None:
    with mouth(server) as session:
        session.connection.send(b"\0\0\0")
        session.say(type="end")
        assert session.rest() == (1008, "invalid_request")
    assert "odd" in session.told[-1]["error"]


def test_noise_is_no_reason_to_fail(server: RunningServer) -> None:
    with mouth(server) as session:
        session.connection.send(np.random.default_rng(0).bytes(320_000))
        session.connection.send(b"")
        session.say(type="end")
        assert session.rest() == (1000, "")


def test_sessions_are_counted_and_bounded(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=ears_models(tmp_path), env={"TURBOV2_LIVE_SESSIONS": "2"})
    with mouth(server) as first, mouth(server):
        first.until("started")
        status, body, headers = refused(server)
        assert (status, headers["retry-after"]) == (429, "5")
        assert "TURBOV2_LIVE_SESSIONS" in body["error"]
        first.say(type="end")
        first.rest()
        with mouth(server) as third:
            third.until("started")
    until(lambda: leases(server, EARS) == 0)
    until(lambda: metric(server, "turbov2_http_requests_total", route=LIVE) == 4)
    assert metric(server, "turbov2_http_requests_total", route=LIVE, status="429") == 1
    assert metric(server, "turbov2_requests_ended_total", model=EARS, outcome="answered") >= 2
    until(lambda: metric(server, "turbov2_requests_in_flight", model=EARS) == 0)


def test_who_says_nothing_is_ended(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=ears_models(tmp_path), env={"TURBOV2_LIVE_IDLE": "1s"})
    with mouth(server) as session:
        assert session.rest() == (1008, "deadline_exceeded")
    with mouth(server) as session:
        while session.connection.close_code is None:
            with contextlib.suppress(TimeoutError, websockets.ConnectionClosed):
                session.connection.send(b"")  # nothing is said by a frame without samples
                session.hear(0.02)
    assert session.connection.close_code == 1008


def test_a_session_has_a_longest_length(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=ears_models(tmp_path), env={"TURBOV2_AUDIO_MAX_DURATION": "5s"})
    with mouth(server) as session:
        session.speak(tones(6))
        assert session.rest() == (1009, "media_too_large")
    assert "TURBOV2_AUDIO_MAX_DURATION" in session.told[-1]["error"]


def test_keys(make_server: MakeServer, tmp_path: Path) -> None:
    key = "a/key+with=signs=="
    server = make_server(models=ears_models(tmp_path), env={"EMBEDDINGS_API_KEY": f"{key},plain-key"})
    encoded = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    assert refused(server)[0] == 401
    assert refused(server, additional_headers={"Authorization": "Bearer wrong"})[0] == 401
    assert refused(server, subprotocols=["turbov2.live", "turbov2-api-key.%%%"[:16]])[0] == 401
    for protocol in (f"turbov2-api-key.{encoded}", "openai-insecure-api-key.plain-key"):
        with mouth(server, subprotocols=["turbov2.live", protocol]) as session:
            assert session.connection.subprotocol == "turbov2.live"
            session.until("started")
    with mouth(server, additional_headers={"X-API-Key": key}) as session:
        assert session.connection.subprotocol is None
    assert key not in server.log()
    assert encoded not in server.log()


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://evil.example", False),
        ("null", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost:3000", True),
        ("SAME", True),
    ],
)
def test_pages_of_other_origins_are_refused(server: RunningServer, origin: str, is_allowed: bool) -> None:
    origin = f"http://127.0.0.1:{server.port}" if origin == "SAME" else origin
    if is_allowed:
        with mouth(server, origin=origin) as session:
            session.until("started")
    else:
        status, body, _ = refused(server, origin=origin)
        assert status == 403
        assert "CORS_ALLOWED_ORIGINS" in body["error"]


def test_foreign_host_names_are_refused(server: RunningServer) -> None:
    raw, answer = handshake(server, host=b"evil.example")
    raw.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"TURBOV2_ALLOWED_HOSTS" in answer


async def test_many_at_once(server: RunningServer) -> None:
    """They share the model; what one says does not depend on the others."""

    async def speak(n_seconds: int) -> str:
        uri = f"ws://127.0.0.1:{server.port}{LIVE}?language=en&partials=false"
        async with websockets.connect(uri, compression=None) as session:
            for first in range(0, n_seconds * 16_000, 800):
                await session.send(tones(n_seconds)[first : first + 800].tobytes())
            await session.send('{"type":"end"}')
            return "".join([message async for message in session if '"final"' in str(message)])  # type: ignore[misc]

    told = await asyncio.gather(*(speak(n) for n in range(1, 9)))
    for n_seconds, final in zip(range(1, 9), told, strict=True):
        assert f's{n_seconds - 1}"' in final
        assert f"s{n_seconds}" not in final
