"""Error → status and body, in the shape each API family documents."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from turbov2.errors import MethodNotAllowed, TurboError
from turbov2.wire._http import Family, Response

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}
# Where a family documents another status than the error's own.
_STATUSES = {("ollama", "not_finite"): 400, ("ollama", "queue_full"): 503}
_OPENAI_CODES = {"unauthorized": "invalid_api_key", "input_too_long": "context_length_exceeded"}


def family_of(path: str) -> Family:
    """Returns the family whose clients call this path, for errors that no route owns."""
    if path.startswith("/v1/") or path == "/v1":
        return "openai"
    return "ollama" if path.startswith("/api") or path == "/" else "native"


def render_error(error: TurboError, family: Family) -> Response:
    """Returns the answer to a failed request. Nothing but the error's own fields is in it."""
    body: dict[str, Any] = {"error": error.message}
    if family == "openai":
        body = {
            "error": {
                "message": error.message,
                "type": _OPENAI_TYPES.get(error.status, "server_error"),
                "param": error.param,
                "code": _OPENAI_CODES.get(error.code, error.code),
            }
        }
    status = _STATUSES.get((family, error.code), error.status)
    return Response(msgspec.json.encode(body), status=status, headers=_headers(error))


def _headers(error: TurboError) -> list[tuple[bytes, bytes]]:
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    elif error.status >= 500:
        # The official SDKs repeat every 5xx; without a time to wait, repeating cannot help.
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, MethodNotAllowed) and error.param:
        headers.append((b"allow", error.param.encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
