"""llama.cpp in this process, with one model: asked over a socket that nobody else can reach."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import xllamacpp

from turbov2.errors import LoadFailed

_EVENT = b"data: "


class Problem(msgspec.Struct, frozen=True):
    """Why llama.cpp did not answer. `n_prompt_tokens`: of a prompt that is too long."""

    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far a prompt is read. cache: tokens of it that the slot had read for another prompt."""

    cache: int = 0


class Piece(msgspec.Struct, frozen=True):
    """What llama.cpp tells of an answer: text, or that it read on; of the last one, why it ended.

    tokens_predicted, tokens_evaluated: of the answer until now; of the whole prompt, images included.
    """

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    prompt_progress: Progress | None = None
    error: Problem | None = None


class Refused(Exception):
    """llama.cpp does not answer this prompt."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class LlamaServer:
    """A model in memory. Its routes: https://github.com/ggml-org/llama.cpp/tree/master/tools/server."""

    def __init__(self, params: xllamacpp.CommonParams) -> None:
        """Raises: LoadFailed when llama.cpp does not read the files."""
        # xllamacpp always listens somewhere. Not on a port, which anybody on this machine could reach.
        self._folder = tempfile.mkdtemp(prefix="turbov2-")
        try:
            path = Path(self._folder, "llama.sock")
            params.hostnames = [str(path)]
            self._server = xllamacpp.Server(params)
            self._address = self._sealed(path)
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise LoadFailed(
                "llama.cpp did not load the GGUF file: it is damaged, or of an architecture that this "
                "version does not know; the server's log says which"
            ) from error
        # Its loop begins a moment after it answers, and one that was told to end before never does.
        self.ask("/completion", {"prompt": [0], "n_predict": 1, "cache_prompt": False})

    def ask(self, route: str, body: Mapping[str, Any]) -> Any:
        """Returns the answer. Raises: Refused."""
        with self._asked(route, body) as response:
            return msgspec.json.decode(response.read())

    def complete(self, body: Mapping[str, Any]) -> Generator[Piece, None, None]:
        """Yields what is told of an answer; to close this iterator ends the answer. Raises: Refused."""
        with self._asked("/completion", {**body, "stream": True}) as response:
            for line in response:
                if line.startswith(_EVENT):
                    piece = msgspec.json.decode(line[len(_EVENT) :], type=Piece)
                    if piece.error is not None:
                        raise Refused(piece.error)
                    yield piece

    def close(self) -> None:
        """Afterwards the weights are released."""
        del self._server
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(AttributeError):
            os.close(self._fd)

    def _sealed(self, path: Path) -> str:
        """Returns where the socket is from now on: on Linux in no folder, for this process alone."""
        if sys.platform != "linux":
            return str(path)
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        shutil.rmtree(self._folder)
        return f"/proc/self/fd/{self._fd}"

    @contextlib.contextmanager
    def _asked(self, route: str, body: Mapping[str, Any]) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self._address)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", route, msgspec.json.encode(body), headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise Refused(msgspec.json.decode(response.read(), type=Piece).error or Problem())
            yield response
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: str) -> None:
        super().__init__("localhost")
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._address)
