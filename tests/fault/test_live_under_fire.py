"""Sessions of live speech while models die, servers stop, and clients vanish, stall or send nonsense."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from websockets.exceptions import ConnectionClosed

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import EARS, SLOW, ears_models
from tests.support.mouths import Mouth, handshake, mouth, refused, tones
from tests.support.server import (
    DEADLINE_S,
    MakeServer,
    RunningServer,
    fake_model,
    leases,
    metric,
    until,
)

SENTENCE = tones(4, (2, 3))
LIVE = "/api/transcribe/live"
MASK = b"\0\0\0\0"  # leaves the bytes as they are


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Iterator[RunningServer]:
    running = make_server(models=ears_models(tmp_path))
    yield running
    with mouth(running, "language=en") as session:  # whatever happened, the next session works
        session.speak(SENTENCE)
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert session.finals()[0]["text"] == "s0 s1"
    assert "Traceback" not in running.log()
    assert "This is a bug" not in running.log()


def in_flight(server: RunningServer, model: str = EARS) -> float:
    return metric(server, "turbov2_requests_in_flight", model=model)


def frame(opcode: int, payload: bytes, *, is_last: bool = True, n_claimed: int | None = None) -> bytes:
    """Returns a client's frame; n_claimed: the length that it says it has."""
    length = len(payload) if n_claimed is None else n_claimed
    head = bytes([is_last << 7 | opcode])
    if length < 126:
        return head + bytes([0x80 | length]) + MASK + payload
    return head + b"\xff" + struct.pack("!Q", length) + MASK + payload


def close_code(raw: socket.socket) -> int:
    """Returns the code of the close frame that comes, behind events of any length."""
    received = b""
    while (found := re.search(rb"\x88[\x02-\x7d](..)", received, re.DOTALL)) is None:
        piece = raw.recv(65_536)
        assert piece, received[:200]
        received += piece
    return int(struct.unpack("!H", found[1])[0])


def test_a_dead_runner_costs_nothing(server: RunningServer) -> None:
    with mouth(server, "language=en") as session:
        session.speak(SENTENCE)
        session.until("final")
        session.speak(tones(1))
        for child in server.children():
            os.kill(child.pid, signal.SIGKILL)
        session.speak(np.concatenate((tones(1), np.zeros(32_000, np.int16))))
        assert session.until("final")["text"] == "s0 s1 s2"
        session.say(type="end")
        assert session.rest() == (1000, "")


def test_an_utterance_that_kills_its_model_fails_alone(make_server: MakeServer, tmp_path: Path) -> None:
    deadly = fake_model(
        "deadly", tmp_path, runner="process", capability="transcribe", is_listener=True, crash_on="s3"
    ).replace("dimensions = 8\n", "")
    server = make_server(models=deadly)
    with mouth(server, "turns=false&model=deadly&partials=false&language=en") as session:
        for n_seconds in (2, 4, 2):
            session.speak(tones(n_seconds))
            session.say(type="commit")
        first, failed, third = session.until("final"), session.until("failed"), session.until("final")
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert (first["utterance"], first["text"]) == (0, "s0 s1")
    assert (failed["utterance"], failed["code"]) == (1, "runner_crashed")
    assert (third["utterance"], third["text"]) == (2, "s0 s1")


@pytest.mark.parametrize("is_rude", [False, True])
def test_a_client_that_vanishes_frees_all_it_held(server: RunningServer, is_rude: bool) -> None:
    raw, answer = handshake(server, f"{LIVE}?model={SLOW}&language=en")
    assert answer.startswith(b"HTTP/1.1 101")
    raw.sendall(frame(2, tones(25).tobytes()))
    told = b""
    while b"speech_started" not in told:
        told += raw.recv(65_536)
    if is_rude:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    until(lambda: leases(server, SLOW) == 0 and in_flight(server, SLOW) == 0)
    until(lambda: metric(server, "turbov2_http_requests_total", route=LIVE, status="499") == 1)
    assert metric(server, "turbov2_requests_ended_total", model=SLOW, outcome="cancelled") == 1


def test_who_sends_faster_than_is_read_has_to_wait(server: RunningServer) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    with mouth(server, f"model={SLOW}&language=en&turns=false") as session:
        session.until("started")
        sound, sent = tones(60), []

        def speak() -> None:
            for _ in range(40):  # 77 MB
                try:
                    session.speak(sound, 1.0)
                except ConnectionClosed:
                    return
                sent.append(1)

        thread = threading.Thread(target=speak)
        thread.start()
        until(lambda: len(sent) >= 3)
        grown = psutil.Process(server.pid).memory_info().rss - before
        assert len(sent) < 40
        assert grown < 40e6
        session.connection.socket.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    until(lambda: in_flight(server, SLOW) == 0)


def test_a_client_that_does_not_read_is_not_waited_for_forever(server: RunningServer) -> None:
    raw, _ = handshake(server, f"{LIVE}?turns=false&language=en")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    commit, stop = frame(1, b'{"type":"commit"}') * 500, threading.Event()

    def babble() -> None:
        raw.settimeout(1)
        while not stop.is_set():
            try:
                raw.sendall(commit)
            except OSError:
                if in_flight(server) == 0:
                    return

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        until(lambda: in_flight(server) == 1)
        until(lambda: in_flight(server) == 0, 60)
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        raw.close()
    until(lambda: metric(server, "turbov2_http_requests_total", route=LIVE, status="499") == 1)


def test_pings_whose_answers_nobody_reads_do_not_pile_up(server: RunningServer) -> None:
    raw, _ = handshake(server)
    raw.settimeout(DEADLINE_S)
    pings = frame(9, bytes(125)) * 500_000  # 64 MB
    with pytest.raises(OSError, match="reset|[Bb]roken pipe"):
        raw.sendall(pings)
    raw.close()
    until(lambda: in_flight(server) == 0)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(2, b"", n_claimed=100_000_000), 1009),
        (frame(2, bytes(3 << 20), is_last=False) + frame(0, bytes(3 << 20)), 1009),
        (frame(2, b"", is_last=False) + frame(0, b"", is_last=False) * 5000, 1009),
        (frame(1, b"\xff\xfe"), 1007),
        (frame(3, b"unknown opcode"), 1002),
        (frame(0, b"nothing to continue"), 1002),
        (b"\x82\x05hello", 1002),  # not masked
        (b"\xc2\x85" + MASK + b"hello", 1002),  # compressed, though nobody agreed on it
        (frame(2, b"\0\0\0") + frame(1, b'{"type":"end"}'), 1008),
        (frame(1, b"text where sound is due"), 1008),
    ],
)
def test_frames_that_nobody_should_send(server: RunningServer, sent: bytes, code: int) -> None:
    raw, answer = handshake(server)
    assert answer.startswith(b"HTTP/1.1 101")
    raw.settimeout(DEADLINE_S)
    raw.sendall(sent)
    assert close_code(raw) == code
    raw.close()
    until(lambda: in_flight(server) == 0)


def test_handshakes_that_nobody_should_send(server: RunningServer) -> None:
    for more, status in (
        (b"X-Long: " + b"x" * 20_000 + b"\r\n", b"431"),
        (b"".join(b"X-%d: 1\r\n" % n for n in range(300)), b"431"),
        (b"Sec-WebSocket-Version: 99\r\n", b"400"),
        (b"Sec-WebSocket-Key: again\r\n", b"400"),
    ):
        raw, answer = handshake(server, more=more)
        assert answer.startswith(b"HTTP/1.1 " + status), (more[:40], answer[:200])
        raw.close()
    raw = server.connect()
    raw.sendall(
        b"POST "
        + LIVE.encode()
        + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    raw.settimeout(DEADLINE_S)
    raw.recv(65_536)  # whatever it says, it ends
    raw.close()


def test_a_stop_tells_what_was_said_and_closes(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=ears_models(tmp_path))
    with (
        mouth(server, "language=en&partials=false") as speaking,
        mouth(server) as silent,
        mouth(server, "intent=transcription", "/v1/realtime") as unbegun,
    ):
        silent.until("started")
        speaking.speak(tones(2))
        speaking.until("speech_started")
        unbegun.until("session.created")
        began_s = time.monotonic()
        server.terminate()
        for session in (speaking, silent, unbegun):
            assert session.rest() == (1001, "stopping")
        assert time.monotonic() - began_s < 10
    assert speaking.finals()[0]["text"].startswith("s0")
    assert speaking.told[-1]["event"] == "error"
    assert unbegun.told[-1]["error"]["code"] == "stopping"
    assert server.wait() == 0
    assert "Traceback" not in server.log()


def test_memory_stays_flat_and_nothing_is_lost(server: RunningServer) -> None:
    """Twenty minutes of speech, as fast as it is heard."""
    sound = np.concatenate((tones(2), np.zeros(16_000, np.int16)))

    def speak(session: Mouth, n_sentences: int) -> None:
        for _ in range(n_sentences):
            session.speak(sound, 0.1)
            session.until("final")

    with mouth(server, "language=en") as session:
        speak(session, 100)
        before = psutil.Process(server.pid).memory_info().rss
        speak(session, 300)
        grown = psutil.Process(server.pid).memory_info().rss - before
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert session.told[-1]["utterances"] == 400
    assert len(session.finals()) == 400
    assert {final["text"] for final in session.finals()} <= {"s0 s1", "s0 s1 s2"}
    assert grown < 8e6
    assert metric(server, "turbov2_audio_seconds_total", model=EARS) > 800


def test_places_come_back_whatever_happens(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=ears_models(tmp_path), env={"TURBOV2_LIVE_SESSIONS": "3"})
    for _ in range(10):
        assert refused(server, "model=nope")[0] == 404
        raw, _ = handshake(server)
        raw.close()
        until(lambda: in_flight(server) == 0)
        with mouth(server) as session:
            session.connection.send("garbage")
            assert session.rest()[0] == 1008
    with mouth(server), mouth(server), mouth(server):
        until(lambda: refused(server)[0] == 429)
