"""Log lines for people or machines, without texts or keys."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
import time
from typing import TextIO

import msgspec

_FLUSH_S = 0.2
_MAX_BUFFERED = 512


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as JSON."""
        line = {
            "at": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure_logs(level: str, log_format: str) -> None:
    """Afterwards all loggers write to stderr in this format."""
    handler = logging.StreamHandler(sys.stderr)
    console = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonFormatter() if log_format == "json" else console)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "httpx2", "filelock", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class AccessLog:
    """One line a request, gathered for a moment: a write each would cost more than a small request."""

    def __init__(self, is_json: bool, stream: TextIO | None = None) -> None:
        self._is_json = is_json
        self._stream = stream
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self, method: str, path: str, status: int, ms: float, n_bytes: int, request_id: str, key_id: str
    ) -> None:
        """Afterwards the request's line is written within a moment."""
        if self._is_json:
            line = msgspec.json.encode(
                {
                    "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
                    "level": "info",
                    "logger": "turbov2.access",
                    "method": method,
                    "path": path,
                    "status": status,
                    "ms": round(ms, 2),
                    "bytes": n_bytes,
                    "request_id": request_id,
                    "key": key_id,
                }
            ).decode()
        else:
            at = time.strftime("%H:%M:%S")
            line = (
                f"{at} INFO    turbov2.access  {method} {path!r:.120} {status} {ms:.1f}ms {n_bytes}B "
                f"{request_id} {key_id or '-'}"
            )
        self._lines.append(line)
        if len(self._lines) >= _MAX_BUFFERED:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)

    def flush(self) -> None:
        """Afterwards nothing is buffered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            stream = self._stream or sys.stderr
            stream.write("\n".join(self._lines) + "\n")
            stream.flush()
            self._lines.clear()
