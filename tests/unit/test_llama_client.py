"""Who asks llama.cpp's server hears its words, and lets go of an answer while it tells nothing."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from turbov2.backends.llama_server.client import LlamaClient

pytestmark = pytest.mark.timeout(20)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"content":"a"}\n\n'


class Server:
    """Answers one request with these bytes and then stays silent, or leaves."""

    def __init__(self, path: Path, told: bytes, *, stays: bool) -> None:
        self.was_asked, self.was_left = threading.Event(), threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, args=(told, stays))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()

    def _serve(self, told: bytes, stays: bool) -> None:
        with self._listening.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(told)
            self.was_asked.set()
            while stays and connection.recv(1 << 16):
                pass
            self.was_left.set()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "told", [HEAD + chunked(EVENT), HEAD, b""], ids=["in its middle", "before a word", "unheard"]
)
def test_a_cancel_ends_an_answer_of_which_nothing_is_told(tmp_path: Path, told: bytes) -> None:
    client, is_cancelled = LlamaClient(str(tmp_path / "sock")), threading.Event()
    with Server(tmp_path / "sock", told, stays=True) as server, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: list(client.complete({}, is_cancelled.is_set)))
        assert server.was_asked.wait(10)
        client.end_cancelled()  # of nobody
        assert not server.was_left.is_set()
        is_cancelled.set()
        client.end_cancelled()
        assert server.was_left.wait(10)
        assert len(reading.result(10)) <= 1


def test_an_answer_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    client = LlamaClient(str(tmp_path / "sock"))
    with Server(tmp_path / "sock", HEAD + chunked(EVENT), stays=False):
        pieces = client.complete({})
        assert next(pieces).content == "a"
        with pytest.raises(Exception, match="IncompleteRead"):
            next(pieces)


def test_events_may_come_in_any_pieces(tmp_path: Path) -> None:
    whole = chunked(EVENT * 3) + chunked(b"data: ") + chunked(EVENT.removeprefix(b"data: ")) + chunked(b"")
    with Server(tmp_path / "sock", HEAD + whole, stays=False):
        assert [piece.content for piece in LlamaClient(str(tmp_path / "sock")).complete({})] == ["a"] * 4
