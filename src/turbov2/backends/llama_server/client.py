"""The routes of llama.cpp's server: https://github.com/ggml-org/llama.cpp/tree/master/tools/server."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import msgspec

from turbov2.backends.servers import Address, Connection

_EVENT, _END = b"data: ", b"\n\n"
_READ_BYTES = 1 << 16
Lines = Callable[[Connection, http.client.HTTPResponse], Iterator[bytes]]


class Problem(msgspec.Struct, frozen=True):
    """Why llama.cpp did not answer. `n_prompt_tokens`: of a prompt that is too long."""

    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far a prompt is read. total: its tokens; cache: those that the slot had read for another prompt."""

    total: int = 0
    cache: int = 0


class Piece(msgspec.Struct, frozen=True):
    """What llama.cpp tells of an answer: text, or that it read on; of the last one, why it ended.

    tokens_predicted, tokens_evaluated: of the answer until now; of the whole prompt, images included.
    stopped_limit: what servers of before 2025 tell instead of `stop_type`.
    """

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    stopped_limit: bool = False
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    prompt_progress: Progress | None = None
    error: Problem | None = None


_PIECE = msgspec.json.Decoder(Piece)
QUIET = Piece()  # nothing was told for a while


class Refused(Exception):
    """llama.cpp does not answer this prompt."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _never() -> bool:
    return False


def events(_: Connection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yields whole events as they come. Lines one by one would take a few calls more for each."""
    rest = b""
    while read := response.read1(_READ_BYTES):
        *found, rest = (rest + read).split(_END)
        yield from filter(None, found)


class LlamaClient:
    """Asks one server."""

    def __init__(self, address: Address, key: str = "", lines: Lines = events) -> None:
        """lines: how an answer's lines, or events, are read; an empty one: none has come for a while."""
        self._address = address
        self._key = key
        self._lines = lines
        self._answering: dict[Connection, Callable[[], bool]] = {}  # whether nobody waits; calls are atomic

    def ask(self, route: str, body: Mapping[str, Any]) -> Any:
        """Returns the answer. Raises: Refused."""
        with self._asked(route, body) as (_, response):
            return msgspec.json.decode(response.read())

    def complete(
        self, body: Mapping[str, Any], is_cancelled: Callable[[], bool] = _never
    ) -> Generator[Piece, None, None]:
        """Yields what is told of an answer; to close this iterator ends the answer. Raises: Refused.

        It also ends when `end_cancelled` finds that it is cancelled.
        """
        try:
            with self._asked("/completion", {**body, "stream": True}, is_cancelled) as (connection, response):
                lines = self._lines(connection, response)
                try:
                    for line in lines:
                        if not line:
                            yield QUIET
                        elif line.startswith(_EVENT):
                            yield _read(line[len(_EVENT) :])
                finally:
                    _close(lines)
        except (OSError, http.client.HTTPException):
            if not is_cancelled():
                raise

    def end_cancelled(self) -> None:
        """Afterwards nobody reads cancelled answers, which the server sees with its next word."""
        for connection, is_cancelled in list(self._answering.items()):
            if is_cancelled():
                connection.end()

    @contextlib.contextmanager
    def _asked(
        self, route: str, body: Mapping[str, Any], is_cancelled: Callable[[], bool] = _never
    ) -> Iterator[tuple[Connection, http.client.HTTPResponse]]:
        connection = Connection(self._address, self._key)
        self._answering[connection] = is_cancelled
        try:
            with connection.post(route, body) as response:  # which holds the socket where it closes behind it
                if response.status != http.client.OK:
                    raise Refused(_problem_in(response.read()))
                yield connection, response
        finally:
            del self._answering[connection]
            connection.close()


def _read(event: bytes) -> Piece:
    piece = _PIECE.decode(event)
    if piece.error is not None:
        raise Refused(piece.error)
    return piece


def _problem_in(body: bytes) -> Problem:
    return _PIECE.decode(body).error or Problem()


def _close(lines: Iterator[bytes]) -> None:
    if isinstance(lines, Generator):
        lines.close()
