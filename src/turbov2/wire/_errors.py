"""Error → status and body, in the shape each API family documents."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from turbov2.errors import (
    CapacityError,
    EmptyInput,
    MethodNotAllowed,
    NotCapable,
    QueueFull,
    RequestError,
    TurboError,
)
from turbov2.wire._http import Family, Response

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
# By the field at fault: what its clients know how to mend by themselves.
_ANTHROPIC_CODES = {"thread": "thread_unsupported_request"}
# Where a family documents another status than the error's own.
_STATUSES = {
    ("ollama", "not_finite"): 400,
    ("ollama", "queue_full"): 503,
    # An image that cannot be used is a bad request there; 413 is kept for bodies.
    ("openai", "media_too_large"): 400,
    ("openai", "unsupported_media"): 400,
    ("anthropic", "media_too_large"): 400,
    ("anthropic", "unsupported_media"): 400,
}
_COHERE_PATHS = ("/rerank", "/v1/rerank")
_TEI_PATHS = frozenset(
    ("/embed", "/embed_all", "/embed_sparse", "/predict", "/similarity", "/info", "/invocations")
)
_OPENAI_CODES = {
    "unauthorized": "invalid_api_key",
    "input_too_long": "context_length_exceeded",
    "empty_input": "invalid_request",
}


def family_of(path: str) -> Family:
    """Returns the family whose clients call this path, for errors that no route owns."""
    if path in _COHERE_PATHS or path.startswith("/v2/"):
        return "cohere"
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    if path.startswith("/v1/") or path in ("/v1", "/score"):
        return "openai"
    if path in _TEI_PATHS:
        return "tei"
    return "ollama" if path.startswith("/api") or path == "/" else "native"


def render_error(error: TurboError, family: Family, request_id: str = "") -> Response:
    """Returns the answer to a failed request. Nothing but the error's own fields is in it."""
    status = _STATUSES.get((family, error.code), error.status)
    if family == "tei":
        status, _ = _tei_status(error)
    body = msgspec.json.encode(error_body(error, family, request_id))
    return Response(body, status=status, headers=_headers(error))


def error_body(error: TurboError, family: Family, request_id: str = "") -> dict[str, Any]:
    """Returns the JSON object in which the family tells an error; some end a stream with it."""
    status = _STATUSES.get((family, error.code), error.status)
    if family == "tei":
        return {"error": error.message, "error_type": _tei_status(error)[1]}
    if family == "cohere":  # Voyage's and Jina's clients read `detail`
        return {"message": error.message, "detail": error.message}
    if family == "anthropic":
        told: dict[str, Any] = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": error.message}
        if code := _ANTHROPIC_CODES.get(error.param or ""):
            told["details"] = {"error_code": code}
        return {"type": "error", "error": told, "request_id": request_id}
    if family == "openai":
        return {
            "error": {
                "message": error.message,
                "type": _OPENAI_TYPES.get(status, "server_error"),
                "param": error.param,
                "code": _OPENAI_CODES.get(error.code, error.code),
            }
        }
    return {"error": error.message}


def _tei_status(error: TurboError) -> tuple[int, str]:
    """Returns the status and `error_type` that text-embeddings-inference gives for such an error.

    Its statuses: router/src/http/server.rs of huggingface/text-embeddings-inference.
    """
    if isinstance(error, EmptyInput):
        return 400, "Empty"
    if isinstance(error, QueueFull):
        return error.status, "Overloaded"
    if isinstance(error, CapacityError):
        return error.status, "Unhealthy"
    if isinstance(error, RequestError) and not isinstance(error, NotCapable):
        return (422 if error.status == 400 else error.status), "Validation"
    return 424, "Backend"


def _headers(error: TurboError) -> list[tuple[bytes, bytes]]:
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    elif error.status >= 500:
        # The official SDKs repeat every 5xx; without a time to wait, repeating cannot help.
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, MethodNotAllowed) and error.param:
        headers.append((b"allow", error.param.encode()))
    if error.status == 426:
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
