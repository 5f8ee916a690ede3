"""Browser origins, by Starlette's middleware; requests without an Origin pass it untouched."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Returns the application behind a check of the Origin header; or the application itself."""
    if not origins:
        return app
    checked = CORSMiddleware(
        app,
        allow_origins=["*"] if "*" in origins else [],
        allow_origin_regex=None if "*" in origins else "|".join(map(_pattern, origins)),
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


def _pattern(origin: str) -> str:
    """Returns the expression for an origin; ":*" is any port or none, another * any text without a slash."""
    return re.escape(origin).replace(r":\*", r"(:\d+)?").replace(r"\*", r"[^/]*")
