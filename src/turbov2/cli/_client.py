"""One call to a running server, with errors people can act on."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urlsplit

import msgspec

from turbov2.cli._boundary import MISUSED, CliError

if TYPE_CHECKING:
    from turbov2.settings import Settings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_ERROR_BYTES = 65_536
_PIECE_BYTES = 1 << 20

T = TypeVar("T")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key to another host."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Nothing is followed."""


def ask(
    settings: Settings,
    url: str | None,
    path: str,
    shape: type[T],
    body: Mapping[str, object] | None = None,
    timeout_s: float = 10,
) -> T:
    """Returns the server's answer as `shape`: GET without a body, POST with one. Raises: CliError."""
    base = _base(settings, url)
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(base + path, data=data)
    keys = settings.api_keys()
    if keys:
        request.add_header("X-API-Key", keys[0])
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with _opener(base).open(request, timeout=timeout_s) as answer:
            return msgspec.json.decode(answer.read(), type=shape)
    except urllib.error.HTTPError as error:
        raise _refusal(base, error) from error
    except (msgspec.MsgspecError, UnicodeError, http.client.HTTPException) as error:
        raise CliError(f"what answers at {base} does not speak as a TurboV2 server") from error
    except TimeoutError as error:
        raise CliError(f"the server at {base} did not answer within {timeout_s:g} s") from error
    except OSError as error:  # URLError is one too
        raise _unreachable(base, url, getattr(error, "reason", error)) from error


def stream(
    settings: Settings,
    url: str | None,
    path: str,
    file: Path,
    fields: Mapping[str, str],
    timeout_s: float,
) -> Iterator[bytes]:
    """Yields the lines of the server's answer to a form with a file. Raises: CliError, OSError.

    timeout_s: for each line. Leaving the loop closes the connection, and the server stops.
    """
    base = _base(settings, url)
    with file.open("rb") as opened:
        request = _form_request(base + path, file.name, opened, fields=fields)
        yield from _lines(settings, base, url, request, timeout_s)


def _lines(
    settings: Settings, base: str, url: str | None, request: urllib.request.Request, timeout_s: float
) -> Iterator[bytes]:
    if keys := settings.api_keys():
        request.add_header("X-API-Key", keys[0])
    try:
        with _opener(base).open(request, timeout=timeout_s) as answer:
            yield from answer
    except urllib.error.HTTPError as error:
        raise _refusal(base, error) from error
    except http.client.HTTPException as error:
        raise CliError(f"the server at {base} ended in the middle of its answer") from error
    except TimeoutError as error:
        raise CliError(f"the server at {base} said nothing for {timeout_s:g} s") from error
    except OSError as error:
        raise _unreachable(base, url, getattr(error, "reason", error)) from error


def _form_request(url: str, name: str, opened: BinaryIO, fields: Mapping[str, str]) -> urllib.request.Request:
    """Returns the request with a multipart form (RFC 7578); the file is read while it is sent."""
    boundary = secrets.token_hex(16)
    safe_name = re.sub(r'[\x00-\x1f"\\]', "_", name)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe_name}"\r\n\r\n'
    )
    head = "".join(parts).encode("utf-8", "replace")
    tail = f"\r\n--{boundary}--\r\n".encode()
    pieces = itertools.chain([head], iter(lambda: opened.read(_PIECE_BYTES), b""), [tail])
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + os.fstat(opened.fileno()).st_size + len(tail)),
        "Accept": "application/x-ndjson",
    }
    return urllib.request.Request(url, data=pieces, headers=headers)


def _base(settings: Settings, url: str | None) -> str:
    """Returns "scheme://host:port". Raises: CliError when `url` is none."""
    if url is None:
        host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host
        return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    full = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(full)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise CliError(f"'{url}' is not an address such as http://localhost:11435", exit_code=MISUSED)
    return full


def _opener(base: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if urlsplit(base).hostname in _LOOPBACK:  # no proxy reaches this machine's own loopback
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _refusal(base: str, error: urllib.error.HTTPError) -> CliError:
    hint = "put the server's key into EMBEDDINGS_API_KEY" if error.code == 401 else ""
    try:
        told = json.loads(error.read(_MAX_ERROR_BYTES))["error"]
    except (ValueError, KeyError, TypeError, OSError):
        told = error.reason
    message = told.get("message", told) if isinstance(told, dict) else told
    return CliError(f"the server at {base} answered {error.code}: {message}", hint)


def _unreachable(base: str, url: str | None, reason: object) -> CliError:
    if isinstance(reason, TimeoutError):
        return CliError(f"{base} cannot be reached: no answer in time")
    if isinstance(reason, ConnectionRefusedError):
        hint = "start one with: turbov2 serve" if url is None else ""
        return CliError(f"no server is listening at {base}", hint)
    why = reason.strerror if isinstance(reason, OSError) else reason
    return CliError(f"{base} cannot be reached: {why}")
