"""What goes wrong with another server, as errors of ours. Pure.

Its own words are passed on only where they tell users what to mend, and hold nothing that is not for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from turbov2.backends.prompt_errors import too_long
from turbov2.errors import (
    InputTooLong,
    InvalidRequest,
    RemoteBusy,
    RemoteFailed,
    RemoteTimedOut,
    TurboError,
)

_MAX_SAID_CHARS = 300
_MAX_WAIT_S = 600.0
_USUAL_WAIT_S = 5.0
_REFUSED = (400, 413, 422)
BUSY = (429, 503, 529)
AGAIN = (*BUSY, 502)  # worth another try: nothing was answered
# In its words: an address, a path of two folders or more, something like a key, the name of an exception.
_PRIVATE = re.compile(
    "|".join(
        (
            r"://|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b|::|\b[\w-]+(?:\.[\w-]+)*:\d{2,5}\b",
            r"/\w[\w.-]*/\w|\b[A-Z]:\\",
            r"(?i:\bbearer\b|\bapi[ _-]?key\b|\bsk-)|[A-Za-z0-9_-]{32,}",
            r"\b[A-Z]\w*(?:Error|Exception)\b|\bTraceback\b|\b0x[0-9a-fA-F]+",
        )
    )
)
_CONTEXT = re.compile(
    r"maximum context length|context (?:length|window|size)|prompt is too long|input is too long", re.I
)
_LENGTHS = (
    re.compile(r"(?P<n>\d+) tokens > (?P<limit>\d+)"),
    re.compile(r"maximum context length is (?P<limit>\d+) tokens.*?(?P<n>\d+) (?:input )?tokens", re.S),
    re.compile(r"\((?P<n>\d+) tokens\) exceeds.*?\((?P<limit>\d+) tokens\)", re.S),
)


class Faults:
    """Errors for one model's server."""

    def __init__(self, model: str, key_variable: str, secrets: Sequence[str]) -> None:
        """model: our name of it. secrets: texts that no error may hold, beside those that look like some."""
        self.who = f"the server that runs model '{model}'"
        self._key_variable = key_variable
        self._secrets = tuple(filter(None, secrets))

    def of_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> TurboError:
        """Returns the error for an answer whose status is not 200. body: its beginning."""
        if status in _REFUSED:
            return self._refusal(_error_in(body))
        if status in (401, 403):
            named = self._key_variable
            fix = f"correct the variable {named}" if named else "name its key's variable as `key_variable`"
            return RemoteFailed(f"{self.who} does not let us in ({status}); {fix}, and start again")
        if status in BUSY:
            wait_s = wait_s_in(headers)
            return RemoteBusy(f"{self.who} takes no more requests now ({status})", retry_after_s=wait_s)
        if status in (408, 504):
            return RemoteTimedOut(f"{self.who} took too long by its own measure ({status})")
        if 300 <= status < 400:
            return RemoteFailed(f"{self.who} sends us elsewhere ({status}); correct `base_url`")
        if status == 404:
            return RemoteFailed(f"{self.who} knows no such model or route (404); correct `model`, `base_url`")
        return RemoteFailed(f"{self.who} failed ({status})")

    def in_stream(self, error: Any) -> TurboError:
        """Returns the error that the server told within its answer."""
        if isinstance(error, dict) and (error.get("code") in _REFUSED or _is_too_long(error)):
            return self._refusal(error)
        return RemoteFailed(f"{self.who} failed while it wrote")

    def _refusal(self, error: Any) -> TurboError:
        if isinstance(error, dict) and _is_too_long(error):
            return _too_long(error)
        said = self._harmless(error.get("message") if isinstance(error, dict) else error)
        reason = f": {said}" if said else ", and its reason is nothing that may be passed on"
        return InvalidRequest(f"{self.who} refuses the request{reason}")

    def _harmless(self, said: object) -> str:
        """Returns the server's words on one line, if they name no secret, address or path; else nothing."""
        if not isinstance(said, str) or any(secret in said for secret in self._secrets):
            return ""
        line = " ".join(said[:_MAX_SAID_CHARS].split())
        return line if line.isprintable() and not _PRIVATE.search(said) else ""


def wait_s_in(headers: Mapping[str, str]) -> float:
    """Returns the seconds that the server asks to wait, by `Retry-After` as a number."""
    text = headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_S) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) else _USUAL_WAIT_S


def _is_too_long(error: dict[str, Any]) -> bool:
    kinds = (error.get("code"), error.get("type"))
    if "context_length_exceeded" in kinds or "exceed_context_size_error" in kinds:
        return True
    return isinstance(message := error.get("message"), str) and _CONTEXT.search(message[:2000]) is not None


def _too_long(error: dict[str, Any]) -> InputTooLong:
    n, limit = error.get("n_prompt_tokens"), error.get("n_ctx")  # llama.cpp's
    if isinstance(n, int) and isinstance(limit, int):
        return too_long(n, limit)
    message = str(error.get("message"))[:2000]
    found = next(filter(None, (form.search(message) for form in _LENGTHS)), None)
    if found is not None:
        return too_long(int(found["n"][:9]), int(found["limit"][:9]))
    return InputTooLong(
        "prompt is too long: more tokens than the model reads; send a shorter one", param="prompt"
    )


def _error_in(body: bytes) -> Any:
    """Returns what a refusal's JSON says: OpenAI's object, or a bare text as others send it."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    return next((told[name] for name in ("error", "detail", "message") if name in told), None)
