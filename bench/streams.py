"""Clients that read streams of Anthropic's messages, cheap enough to share two cores with the server."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

_FIRST, _LAST = b'"text_delta"', b"message_stop"
_N_INPUT, _N_OUTPUT = (re.compile(rb'"%b_tokens": ?(\d+)' % kind) for kind in (b"input", b"output"))
_PATIENCE_S = 120.0


class Streamed(NamedTuple):
    """What a group of streams came to, which began together.

    first_s: from each one's request to its first words. all_s: from the first request to the last word.
    """

    n_prompt_tokens: int
    n_tokens: int
    first_s: tuple[float, ...]
    all_s: float

    @property
    def tokens_s(self) -> float:
        """Tokens a second, of all streams together."""
        return self.n_tokens / self.all_s


class Stream:
    """One request on a connection of its own."""

    def __init__(self, port: int, body: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        self._request = (
            head.encode() + b"content-type: application/json\r\nanthropic-version: 2023-06-01\r\n\r\n" + body
        )
        self._received = bytearray()
        self.sent_s = self.first_s = self.last_s = 0.0

    def send(self) -> None:
        """Afterwards the clock runs."""
        self.sent_s = time.perf_counter()
        self.sock.sendall(self._request)

    def receive(self) -> bool:
        """Returns whether it goes on."""
        piece, now_s = self.sock.recv(1 << 16), time.perf_counter()
        from_byte = max(0, len(self._received) - len(_LAST))  # a mark may come in two pieces
        self._received += piece
        if not self.first_s and self._received.find(_FIRST, from_byte) >= 0:
            self.first_s = now_s
        if not piece or self._received.find(_LAST, from_byte) >= 0:
            self.last_s = now_s
        return not self.last_s

    def n_tokens(self) -> tuple[int, int]:
        """Returns how many tokens the prompt had and the answer, once it ended."""
        inputs, outputs = _N_INPUT.findall(self._received), _N_OUTPUT.findall(self._received)
        if not self.first_s or not inputs or not outputs:
            raise SystemExit(f"no answer: {self._received[:2000].decode(errors='replace')}")
        return int(inputs[-1]), int(outputs[-1])


def body_of(model: str, text: str, n_tokens: int, *earlier: tuple[str, str]) -> bytes:
    """Returns a request for the likeliest answer. earlier: turns in front of the text, with their roles."""
    messages = [{"role": role, "content": said} for role, said in (*earlier, ("user", text))]
    body = {"model": model, "max_tokens": n_tokens, "temperature": 0, "stream": True, "messages": messages}
    return json.dumps(body).encode()


def stream(port: int, bodies: Sequence[bytes]) -> Streamed:
    """Returns what so many streams at a time came to."""
    streams = {each.sock.fileno(): each for each in (Stream(port, body) for body in bodies)}
    poll = select.poll()
    for number, each in streams.items():
        poll.register(number, select.POLLIN)
        each.send()
    waiting = set(streams)
    while waiting:
        events = poll.poll(_PATIENCE_S * 1000)
        if not events:
            raise SystemExit(f"no word within {_PATIENCE_S:.0f} s")
        for number, _ in events:
            if not streams[number].receive():
                poll.unregister(number)
                waiting.discard(number)
    ended = list(streams.values())
    counts = [each.n_tokens() for each in ended]
    for each in ended:
        each.sock.close()
    return Streamed(
        sum(n_prompt for n_prompt, _ in counts),
        sum(n for _, n in counts),
        tuple(each.first_s - each.sent_s for each in ended),
        max(each.last_s for each in ended) - min(each.sent_s for each in ended),
    )
