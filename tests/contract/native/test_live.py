"""GET /api/transcribe/live: a microphone's samples in, text out, over a real WebSocket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import EARS, ears_server
from tests.support.mouths import Mouth, mouth, tones
from tests.support.server import RunningServer

SILENT = (3, 4, 8, 9)
SOUND = tones(10, SILENT)  # s0 s1 s2 - - s5 s6 s7 - -


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("live")) as running:
        yield running


def texts(session: Mouth) -> list[str]:
    return [final["text"] for final in session.finals()]


def names(session: Mouth) -> list[str]:
    return [event["event"] for event in session.told if event["event"] != "partial"]


def test_two_utterances(server: RunningServer) -> None:
    with mouth(server, "language=en") as session:
        session.speak(SOUND)
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert names(session) == [
        "started", "speech_started", "speech_stopped", "speech_started", "speech_stopped", "final", "final", "done",
    ] or names(session).count("final") == 2  # fmt: skip
    first, second = session.finals()
    assert (first["utterance"], first["start"], first["text"], first["language"]) == (
        0,
        0.0,
        "s0 s1 s2",
        "en",
    )
    assert first["end"] == pytest.approx(3.5, abs=0.07)
    assert second["start"] == pytest.approx(4.7, abs=0.07)
    done = session.told[-1]
    assert (done["event"], done["model"], done["duration"], done["utterances"]) == ("done", EARS, 10.0, 2)
