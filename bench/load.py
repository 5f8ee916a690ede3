"""A load generator cheap enough to share two cores with the server: `python -m bench.load plan.json`.

Plain sockets and epoll, one thread. Requests are encoded before the clock starts; a response is read by
its Content-Length, or up to the empty last chunk, and never parsed. Any answer but 200 ends the run.
Prints one JSON object.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

_RECEIVE_BYTES = 1 << 20
_STALL_S = 30
_LENGTH = struct.Struct("<I")


class ServerFailed(Exception):
    """The server answered with another status than 200, or closed the connection."""


class _Connection:
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("missing", "sent_at", "sock", "tail", "waits_for_head")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=_STALL_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.missing = 0
        self.tail: bytes | None = None  # of a chunked response, its last bytes so far
        self.waits_for_head = True
        self.sent_at = 0.0

    def send(self, request: bytes, now: float) -> None:
        self.sock.sendall(request)
        self.sent_at = now
        self.waits_for_head = True

    def receive(self, buffer: memoryview) -> bool:
        """Returns whether the response is complete."""
        n_read = self.sock.recv_into(buffer)
        if n_read == 0:
            raise ServerFailed("the server closed the connection")
        if not self.waits_for_head:
            return self._continue(buffer, n_read)
        head, mark, _ = bytes(buffer[: min(n_read, 2048)]).partition(b"\r\n\r\n")
        if not mark:
            raise ServerFailed("the response's head did not arrive in one piece")
        if head[9:12] != b"200":
            raise ServerFailed(bytes(buffer[: min(n_read, 600)]).decode(errors="replace"))
        lowered = head.lower()
        self.waits_for_head = False
        if b"transfer-encoding: chunked" in lowered:
            self.tail = b""
            return self._continue(buffer, n_read)
        self.tail = None
        start = lowered.index(b"content-length:") + 15
        self.missing = int(lowered[start:].split(b"\r\n", 1)[0]) - (n_read - len(head) - 4)
        return self.missing == 0

    def _continue(self, buffer: memoryview, n_read: int) -> bool:
        if self.tail is None:
            self.missing -= n_read
            return self.missing == 0
        # No other place in a chunked body can read like this: JSON has no line breaks inside.
        self.tail = (self.tail + bytes(buffer[max(0, n_read - 5) : n_read]))[-5:]
        return self.tail == b"0\r\n\r\n"


def encode_request(path: str, body: bytes) -> bytes:
    """Returns the HTTP/1.1 request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def write_requests(file: Path, path: str, bodies: list[bytes]) -> None:
    """Afterwards `file` holds the encoded requests, each behind its length."""
    with file.open("wb") as out:
        for body in bodies:
            request = encode_request(path, body)
            out.write(_LENGTH.pack(len(request)) + request)


def read_requests(file: Path) -> list[bytes]:
    """Returns what `write_requests` wrote."""
    whole, at, requests = file.read_bytes(), 0, []
    while at < len(whole):
        (length,) = _LENGTH.unpack_from(whole, at)
        requests.append(whole[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def drive(
    address: tuple[str, int],
    requests: list[bytes],
    n_connections: int,
    seconds: float,
    warm_s: float,
    repeats: bool,
) -> dict[str, Any]:
    """Returns what was measured after `warm_s`, over `seconds` or until the requests are used up.

    Each connection sends its next request as soon as it has read the answer to the last.
    """
    poll = select.epoll()
    connections = {c.sock.fileno(): c for c in (_Connection(address) for _ in range(n_connections))}
    for number in connections:
        poll.register(number, select.EPOLLIN)
    buffer = memoryview(bytearray(_RECEIVE_BYTES))
    clock = time.perf_counter
    supply = _forever(requests) if repeats else iter(requests)
    latencies: list[float] = []
    begin = clock() + warm_s
    end, last, n_answered = begin + seconds, begin, 0
    cpu_begin = time.process_time()
    n_open = 0
    for connection in connections.values():
        if (request := next(supply, None)) is not None:
            connection.send(request, clock())
            n_open += 1
    while n_open:
        events = poll.poll(_STALL_S)
        if not events:
            raise ServerFailed(f"no answer within {_STALL_S} s")
        for number, _ in events:
            connection = connections[number]
            if not connection.receive(buffer):
                continue
            now = clock()
            if begin <= now <= end:
                latencies.append(now - connection.sent_at)
                last = now
            request = next(supply, None) if now < end else None
            if request is None:
                n_open -= 1
            else:
                connection.send(request, now)
            n_answered += 1
    cpu_s = time.process_time() - cpu_begin
    window_s = (end if repeats or last > end - 0.1 * seconds else last) - begin
    return _summary(latencies, window_s, cpu_s / max(1, n_answered))


def _forever(requests: list[bytes]) -> Any:
    while True:
        yield from requests


def _summary(latencies: list[float], window_s: float, cpu_s: float) -> dict[str, Any]:
    if not latencies:
        raise ServerFailed("no request was answered while the clock ran")
    ordered = sorted(latencies)
    return {
        "n_requests": len(ordered),
        "seconds": window_s,
        "requests_per_s": len(ordered) / window_s,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
        "client_us_per_request": cpu_s * 1e6,
    }


def main() -> None:
    """Afterwards one JSON object is printed, with `error` if the server failed."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    requests = read_requests(Path(plan["requests"]))
    try:
        outcome = drive(
            ("127.0.0.1", plan["port"]),
            requests,
            plan["connections"],
            plan["seconds"],
            plan["warm_s"],
            plan["repeats"],
        )
    except (ServerFailed, OSError) as error:
        outcome = {"error": str(error)}
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
