"""Plays a Python with vLLM: the same arguments and routes, and answers that repeat the prompt's tokens.

STAND_IN makes it misbehave: "failing" to start, "refusing" grammars, "breaking" an answer off and ending,
"aborting" one, with an "engine" that fails and takes it along. STAND_IN_LOG: a file that gets a line for what
it was asked.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

END_ID = 1
TOKEN_S = 0.005
_MODULE = "vllm.entrypoints.openai.api_server"


def build(folder: Path) -> Path:
    """Returns the Python of an environment in `folder`."""
    program = folder / "bin/python"
    program.parent.mkdir(parents=True)
    script = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    return program


def told_to(log: Path) -> list[dict[str, Any]]:
    """Returns its arguments and variables, then each request's body, and which answers nobody waited for."""
    return [json.loads(line) for line in log.read_text().splitlines()]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "us"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 404, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        _note(body)
        mode = os.environ.get("STAND_IN", "")
        if mode == "refusing" and "structured_outputs" in body:
            self._answer(400, json.dumps({"error": {"message": "bad grammar", "code": 400}}).encode())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            self._write(body, mode)
        except OSError:
            _note({"left": True})

    def _write(self, body: dict[str, Any], mode: str) -> None:
        token_ids = body["prompt"][: body["max_tokens"]]
        is_cut = len(token_ids) == body["max_tokens"]
        for number, token_id in enumerate(token_ids if is_cut else [*token_ids, END_ID]):
            if mode == "breaking" and number == 2:
                os._exit(3)
            if mode == "engine" and number == 2:
                self._tell({"error": {"message": "EngineCore encountered an issue.", "code": 500}})
                threading.Timer(0.2, os._exit, [0]).start()
                return
            if mode == "aborting" and number == 2:
                self._tell({"choices": [{"index": 0, "token_ids": [], "finish_reason": "abort"}]})
                break
            is_last = number == len(token_ids) - is_cut
            reason = ("length" if is_cut else "stop") if is_last else None
            self._tell({"choices": [{"index": 0, "token_ids": [token_id], "finish_reason": reason}]})
            time.sleep(TOKEN_S)
        self._tell({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 3}}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _tell(self, event: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _note(entry: dict[str, Any]) -> None:
    with Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        log.write(json.dumps(entry) + "\n")


def main() -> None:
    assert sys.argv[1:4] == ["-P", "-m", _MODULE], sys.argv
    _note({"arguments": sys.argv[4:], "environment": dict(os.environ)})
    if os.environ.get("STAND_IN") == "failing":
        sys.exit("No available memory for the cache blocks")
    with _Server(sys.argv[sys.argv.index("--uds") + 1], _Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
