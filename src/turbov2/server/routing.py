"""Path and method → route, with one dictionary look-up for the usual case."""

from __future__ import annotations

from collections.abc import Sequence

from turbov2.errors import MethodNotAllowed, RouteNotFound
from turbov2.wire._http import Route


class Router:
    """The table of routes. A path ending in "/" (except the root) takes everything below it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._prefixes: list[tuple[str, Route]] = []
        self._methods: dict[str, set[str]] = {}
        for route in routes:
            methods = (*route.methods, "HEAD") if "GET" in route.methods else route.methods
            if route.path.endswith("/") and route.path != "/":
                self._prefixes += [(method, route) for method in methods]
            else:
                self._exact |= {(method, route.path): route for method in methods}
                self._methods.setdefault(route.path, set()).update(methods)

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """Returns the route and what followed its prefix. Raises: RouteNotFound, MethodNotAllowed.

        A trailing slash is no other path: redirects lose bodies in many clients.
        """
        route = self._exact.get((method, path))
        if route is None and path != "/" and path.endswith("/"):
            path = path.rstrip("/")
            route = self._exact.get((method, path))
        if route is not None:
            return route, ""
        for prefix_method, candidate in self._prefixes:
            if prefix_method == method and path.startswith(candidate.path):
                return candidate, path[len(candidate.path) :]
        if path in self._methods:
            allowed = ", ".join(sorted(self._methods[path]))
            raise MethodNotAllowed(f"method {method} is not allowed here, only {allowed}", param=allowed)
        raise RouteNotFound(f"no route {method} {path[:200]}")
