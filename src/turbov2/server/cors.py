"""Browser origins. Of HTTP by Starlette's middleware; requests without an Origin pass it untouched."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from turbov2.errors import Forbidden


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Returns the application behind a check of the Origin header; or the application itself."""
    if not origins:
        return app
    checked = CORSMiddleware(
        app,
        allow_origins=["*"] if "*" in origins else [],
        allow_origin_regex=None if "*" in origins else _patterns(origins),
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "request-id"],
        max_age=3600,
    )

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        # The middleware wraps `send` and parses headers even for clients that are no browsers.
        is_browser = scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])
        await (checked if is_browser else app)(scope, receive, send)

    return choose


class Origins:
    """Which pages may open a WebSocket. Browsers let every page do so, and ask nobody."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._takes_all = "*" in origins
        self._allowed = re.compile(_patterns(origins)) if origins else None

    def check(self, scope: Scope) -> None:
        """Raises: Forbidden for a page that is neither of an allowed origin nor of this server."""
        headers = dict(scope["headers"])
        if self._takes_all or b"origin" not in headers:
            return
        origin = headers[b"origin"].decode("latin-1").lower()
        if self._allowed is not None and self._allowed.fullmatch(origin):
            return
        # A proxy may have ended TLS, so the scheme tells nothing here.
        if origin.partition("://")[2].encode("latin-1") == headers.get(b"host", b"").lower():
            return
        raise Forbidden(f"origin '{origin[:100]}' is not allowed; add it to CORS_ALLOWED_ORIGINS")


def _patterns(origins: Sequence[str]) -> str:
    return "|".join(map(_pattern, origins))


def _pattern(origin: str) -> str:
    """Returns the expression for an origin; ":*" is any port or none, another * any text without a slash."""
    return re.escape(origin).replace(r":\*", r"(:\d+)?").replace(r"\*", r"[^/]*")
