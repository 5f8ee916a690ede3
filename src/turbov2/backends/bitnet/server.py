"""bitnet.cpp's llama-server with one model, on a port of this machine and with a key that nobody else has.

It is of a llama.cpp of 2024, or of what its operator has built: servers of any age do what is asked here.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from turbov2.backends.llama_server.client import LlamaClient
from turbov2.backends.servers import Connection, ServerProcess, free_port, heard
from turbov2.errors import LoadFailed

_WHAT = "bitnet.cpp's llama-server"


class BitnetServer:
    """A model in a server's memory, which `client` asks."""

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        """Raises: LoadFailed."""
        self._port, self._key = free_port(), secrets.token_urlsafe(32)
        folder = Path(tempfile.mkdtemp(prefix="turbov2-"))  # 0700: a command line is there for all to read
        try:
            key_file = folder / "key"
            key_file.write_text(self._key)
            address = ["--host", "127.0.0.1", "--port", str(self._port), "--api-key-file", str(key_file)]
            self._process = ServerProcess(_WHAT, [program, *arguments, *address], os.environ)
            self._await_ready()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.client = LlamaClient(self._port, self._key, heard)

    def asked(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the server is asked; see ServerProcess. Raises: InferenceFailed."""
        return self._process.asked()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._process.close()

    def _await_ready(self) -> None:
        try:
            self._process.await_ready(self._is_well)
            if self._status_without_key() != http.client.UNAUTHORIZED:
                raise LoadFailed(
                    f"{_WHAT} answers without the key that it was given, so anybody on this machine could "
                    "use it; build a version that knows --api-key-file"
                )
        except BaseException:
            self._process.close()
            raise

    def _is_well(self) -> bool:
        connection = Connection(self._port)
        try:
            return connection.is_well()
        finally:
            connection.close()

    def _status_without_key(self) -> int:
        connection = Connection(self._port)
        try:
            return connection.post("/tokenize", {"content": ""}).status
        finally:
            connection.close()
