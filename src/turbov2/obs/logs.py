"""Log lines for people or machines, without texts or keys."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TextIO

import msgspec

_FLUSH_S = 0.2
_MAX_BUFFERED = 512
_EXTRAS = ("event", "model")  # of `logger.info(..., extra={...})`; shown as fields of JSON lines

Fields = Mapping[str, str | int | float]


class HandledRequest:
    """The request that log lines belong to. `fields` gives what its access line tells beside the usual."""

    __slots__ = ("fields", "request_id")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.fields: Callable[[], Fields] = dict

    def end(self) -> None:
        """Afterwards no line names it: tasks that it started, such as a batcher's loop, may outlive it."""
        self.request_id = ""
        self.fields = dict


_HANDLED: ContextVar[HandledRequest | None] = ContextVar("handled_request", default=None)


def begin_request(request_id: str) -> HandledRequest:
    """From now on the lines logged by this task, and by what it starts, name the request until its `end`."""
    request = HandledRequest(request_id)
    _HANDLED.set(request)
    return request


def current_request() -> HandledRequest | None:
    """Returns the request that is being handled, if any."""
    return _HANDLED.get()


def _name_request(record: logging.LogRecord) -> bool:
    request = _HANDLED.get()
    record.request_id = request.request_id if request is not None else ""
    return True


class ConsoleFormatter(logging.Formatter):
    """One line for people; the request's id at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line without its traceback."""
        line = super().formatMessage(record)
        request_id = getattr(record, "request_id", "")
        return f"{line}  {request_id}" if request_id else line


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
        for name in ("request_id", *_EXTRAS):
            if value := getattr(record, name, ""):
                line[name] = str(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # File names may hold surrogates, which JSON cannot.
        sane = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in line.items()}
        return msgspec.json.encode(sane).decode()


def configure_logs(level: str, log_format: str) -> None:
    """Afterwards all loggers write to stderr in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    handler.addFilter(_name_request)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "httpx2", "filelock", "huggingface_hub", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class AccessLog:
    """One line a request, gathered for a moment: a write each would cost more than a small request."""

    def __init__(self, is_json: bool, stream: TextIO | None = None) -> None:
        self._is_json = is_json
        self._stream = stream
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self,
        method: str,
        path: str,
        status: int,
        ms: float,
        n_bytes: int,
        request_id: str,
        key_id: str,
        fields: Callable[[], Fields] = dict,
    ) -> None:
        """Afterwards the request's line is written within a moment; one for machines has `fields` too."""
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
                    **fields(),
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
