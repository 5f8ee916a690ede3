"""llama.cpp in this process, with one model: asked over a socket that nobody else can reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import xllamacpp

from turbov2.backends.llama_server.client import LlamaClient
from turbov2.errors import LoadFailed


class LlamaServer:
    """A model in memory, which `client` asks."""

    def __init__(self, params: xllamacpp.CommonParams) -> None:
        """Raises: LoadFailed when llama.cpp does not read the files."""
        # xllamacpp always listens somewhere. Not on a port, which anybody on this machine could reach.
        self._folder = tempfile.mkdtemp(prefix="turbov2-")
        try:
            path = Path(self._folder, "llama.sock")
            params.hostnames = [str(path)]
            self._server = xllamacpp.Server(params)
            self.client = LlamaClient(self._sealed(path))
        except RuntimeError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise LoadFailed(
                "llama.cpp did not load the GGUF file: it is damaged, or of an architecture that this "
                "version does not know; the server's log says which"
            ) from error
        # Its loop begins a moment after it answers, and one that was told to end before never does.
        self.client.ask("/completion", {"prompt": [0], "n_predict": 1, "cache_prompt": False})

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
