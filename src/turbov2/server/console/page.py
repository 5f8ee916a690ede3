"""GET /console and what lies below it: files of this package, with headers that bind a browser to them."""

from __future__ import annotations

from pathlib import Path

from turbov2.errors import RouteNotFound
from turbov2.wire._http import TEXT, Request, Response, Route

PATH = "/console"
_FOLDER = Path(__file__).with_name("assets")
_PAGE = "index.html"
_MEDIA_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# Only our own files run, no text becomes markup, no page frames this one, and nothing is sent to another
# host. blob: is a file that the visitor chose.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # after an upgrade page and scripts must be of one version
)


class Console:
    """The page and its files, read once."""

    def __init__(self) -> None:
        paths = [path for path in _FOLDER.iterdir() if path.suffix in _MEDIA_TYPES]
        self._files = {path.name: _answer(path) for path in paths}

    async def page(self, request: Request) -> Response:
        """GET /console. A page that shows what the server does, and tries its models."""
        if request.scope["path"].endswith("/"):
            # The page's links are relative, so that a proxy may put a prefix before them.
            return Response(b"", status=308, media_type=TEXT, headers=[(b"location", b"../console")])
        return self._files[_PAGE]

    async def file(self, request: Request) -> Response:
        """GET /console/{id}. The page's styles and scripts."""
        found = self._files.get(request.path_rest)
        if found is None or request.path_rest == _PAGE:
            raise RouteNotFound(f"the console has no file '{request.path_rest[:100]}'")
        return found


def _answer(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=_MEDIA_TYPES[path.suffix], headers=HEADERS)


def console_routes() -> list[Route]:
    """Returns the routes of the page and its files."""
    console = Console()
    return [
        Route(PATH, ("GET",), console.page, "native"),
        Route(f"{PATH}/", ("GET",), console.file, "native"),
    ]
