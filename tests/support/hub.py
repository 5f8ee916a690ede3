"""A model hub of our own on this machine: what huggingface_hub asks of one, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

REPO = "acme/tiny"
COMMIT = "a" * 40
_LARGE = (".safetensors", ".bin", ".onnx", ".gguf")  # stored as LFS files, behind a redirect


class Asked(NamedTuple):
    """One request that the hub saw."""

    method: str
    path: str
    range: str
    token: str


class FakeHub:
    """One repository, one commit. Change the public fields at any time; faults apply to later requests."""

    def __init__(self, files: dict[str, bytes], *, repo: str = REPO, commit: str = COMMIT) -> None:
        self.repo, self.commit, self.files = repo, commit, dict(files)
        self.asked: list[Asked] = []
        self.sent: list[tuple[str, str]] = []  # file and Range of each answer that carried bytes of it
        self.cut_after: dict[str, list[int]] = defaultdict(list)  # bytes before each next answer breaks off
        self.corrupt: set[str] = set()  # names whose bytes arrive with their first one flipped
        self.served: dict[str, bytes] = {}  # names whose bytes are not the listed ones
        self.status: dict[str, tuple[int, str]] = {}  # "list" or a file's name -> status, X-Error-Code
        self.token = ""  # needed for files, if set
        self.lists_hashes = True
        self.stall: threading.Event | None = (
            None  # answers hang here after a cut_after count instead of closing
        )
        self.stalled = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.stall:
            self.stall.set()
        self._server.shutdown()
        self._server.server_close()

    def ranges(self, name: str) -> list[str]:
        """Returns the Range header of each request that was answered with bytes of the file, in order."""
        return [asked for sent, asked in self.sent if sent == name]

    def blob(self, name: str) -> str:
        """Returns the name of the file's blob in the cache."""
        content = self.files[name]
        if name.endswith(_LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()

    def listing(self) -> dict[str, Any]:
        """Returns the answer to a question for the model and its files."""
        siblings = [self._sibling(name) for name in self.files]
        return {"id": self.repo, "modelId": self.repo, "sha": self.commit, "tags": [], "siblings": siblings}

    def _sibling(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {"rfilename": name}
        if self.lists_hashes:
            found |= {"size": len(self.files[name]), "blobId": self.blob(name)}
            if name.endswith(_LARGE):
                found["lfs"] = {"sha256": self.blob(name), "size": len(self.files[name]), "pointerSize": 130}
        return found


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            hub.asked.append(Asked(self.command, path, self.headers.get("Range", ""), token))
            if path.startswith("/api/models/"):
                self._list(path)
            elif found := re.fullmatch(r"/(.+?/.+?)/resolve/([^/]+)/(.+)", path):
                self._resolve(*found.groups(), token=token)
            elif path.startswith("/cdn/"):
                name = next(n for n in hub.files if hub.blob(n) == path.removeprefix("/cdn/"))
                self._bytes(name, {})
            else:
                self._say(404)

        def _list(self, path: str) -> None:
            repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            if "list" in hub.status:
                self._say(*hub.status["list"])
            elif repo != hub.repo:
                self._say(404, "RepoNotFound")
            elif revision not in ("", "main", hub.commit):
                self._say(404, "RevisionNotFound")
            else:
                self._say(200, body=json.dumps(hub.listing()).encode())

        def _resolve(self, repo: str, revision: str, name: str, *, token: str) -> None:
            if name in hub.status:
                self._say(*hub.status[name])
            elif hub.token and token != hub.token:
                self._say(401, "GatedRepo")
            elif repo != hub.repo or name not in hub.files:
                self._say(404, "EntryNotFound")
            elif name.endswith(_LARGE):
                headers = {"X-Linked-Etag": f'"{hub.blob(name)}"', "X-Linked-Size": str(len(hub.files[name]))}
                # Another host name, as a hub's file store has: tokens must not follow.
                place = hub.url.replace("127.0.0.1", "localhost")
                self._say(302, headers=headers | {"Location": f"{place}/cdn/{hub.blob(name)}"})
            else:
                self._bytes(name, {"ETag": f'"{hub.blob(name)}"'})

        def _bytes(self, name: str, headers: dict[str, str]) -> None:
            body = hub.served.get(name, hub.files[name])
            if name in hub.corrupt:
                body = bytes([body[0] ^ 1]) + body[1:]
            start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
            if start and start >= len(body):
                self._say(416)
                return
            if self.command == "GET":
                hub.sent.append((name, self.headers.get("Range", "")))
            if start:
                headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            cut = hub.cut_after[name].pop(0) if hub.cut_after[name] and self.command == "GET" else None
            self._say(206 if start else 200, headers=headers, body=body[start:], cut=cut)

        def _say(
            self,
            status: int,
            error: str = "",
            *,
            headers: dict[str, str] | None = None,
            body: bytes = b"",
            cut: int | None = None,
        ) -> None:
            self.send_response(status)
            all_headers = {"X-Repo-Commit": hub.commit, "Content-Length": str(len(body))} | (headers or {})
            if error:
                all_headers["X-Error-Code"] = error
            for key, value in all_headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.wfile.flush()
                if hub.stall:
                    hub.stalled.set()
                    hub.stall.wait()
                self.close_connection = True

    return Handler
