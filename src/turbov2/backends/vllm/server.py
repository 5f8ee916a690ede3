"""vLLM's server for OpenAI's API with one model, on a socket in a folder that only this user may enter."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from turbov2.backends.servers import Connection, ServerProcess, heard

logger = logging.getLogger(__name__)

_WHAT = "vLLM"
_MAX_SAID_CHARS = 500  # in the log
_MODULE = "vllm.entrypoints.openai.api_server"
_EVENT, _END = b"data: ", b"[DONE]"
# What would lead another Python to packages of ours; what vLLM would take for its own, and is not.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_API_KEY", "VLLM_REMOTE_") + (
    "VLLM_MAX_MODEL_LEN",
    "VLLM_MAX_NUM_SEQS",
    "VLLM_GPU_MEMORY_UTILIZATION",
    "VLLM_TENSOR_PARALLEL_SIZE",
    "VLLM_DTYPE",
    "VLLM_QUANTIZATION",
    "VLLM_ENFORCE_EAGER",
    "VLLM_PREFIX_CACHING",
)
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "PYTHONUNBUFFERED": "1",
}


class Choice(msgspec.Struct, frozen=True):
    """What comes next of an answer. stop_reason: the token that ended it, where it is not the usual one."""

    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an answer took."""

    prompt_tokens_details: _Details | None = None

    @property
    def n_cached_tokens(self) -> int:
        """Of the prompt, those that were not computed again."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0


class Chunk(msgspec.Struct, frozen=True):
    """One event of an answer."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: _Problem | None = None


QUIET = Chunk()  # nothing was told for a while


class _Problem(msgspec.Struct, frozen=True):
    code: int | None = None
    message: str = ""


class Refused(Exception):
    """vLLM does not take this request."""


class VllmServer:
    """A model in vLLM's memory."""

    def __init__(
        self, python: Path, arguments_for: Callable[[Path], Sequence[str]], environment: Mapping[str, str]
    ) -> None:
        """arguments_for: the server's, for a socket at this path. Raises: LoadFailed."""
        self._folder = Path(tempfile.mkdtemp(prefix="turbov2-"))  # 0700
        self._socket = self._folder / "vllm.sock"
        command = [str(python), "-P", "-m", _MODULE, *arguments_for(self._socket)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        self._process = ServerProcess(_WHAT, command, {**_ENVIRONMENT, **kept, **environment})
        try:
            self._process.await_ready(self._is_well)
        except BaseException:
            self.close()
            raise

    def complete(self, body: Mapping[str, Any]) -> Generator[Chunk, None, None]:
        """Yields what is told of an answer; to close this iterator ends the answer.

        Raises: Refused; OSError, HTTPException.
        """
        with (
            self._asked("/v1/completions", body) as (connection, response),
            contextlib.closing(heard(connection, response)) as lines,
        ):
            for line in lines:
                if not line:
                    yield QUIET
                elif line.startswith(_EVENT) and (event := line[len(_EVENT) :].strip()) != _END:
                    yield _read(event)

    def asked(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the server is asked; see ServerProcess. Raises: InferenceFailed."""
        return self._process.asked()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._process.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _asked(
        self, route: str, body: Mapping[str, Any]
    ) -> Iterator[tuple[Connection, http.client.HTTPResponse]]:
        connection = Connection(str(self._socket))
        try:
            response = connection.post(route, body)
            if response.status != http.client.OK:
                raise _fault(response.status, response.read().decode("utf-8", "replace"))
            yield connection, response
        finally:
            connection.close()

    def _is_well(self) -> bool:
        connection = Connection(str(self._socket))
        try:
            return self._socket.exists() and connection.is_well()
        finally:
            connection.close()


def _read(event: bytes) -> Chunk:
    chunk = msgspec.json.decode(event, type=Chunk)
    if chunk.error is not None:
        raise _fault(chunk.error.code, chunk.error.message)
    return chunk


def _fault(status: int | None, said: str) -> Exception:
    """Returns what is wrong: the request, or vLLM itself, which may be about to end."""
    if status is not None and 400 <= status < 500:
        return Refused(said)
    logger.warning("vLLM failed (%s): %s", status, said[:_MAX_SAID_CHARS])
    return ConnectionError()
