"""Host names this server answers to, so that no web page reaches it through its own (DNS rebinding)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from turbov2.errors import Forbidden
from turbov2.wire._http import Scope

_MAX_ACCEPTED = 256


class Hosts:
    """Checked when listening on loopback, as Ollama does, or when names are configured."""

    def __init__(self, listen_host: str, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._accepted: set[bytes] = set()  # header values seen and found good
        self._is_checked = "*" not in self._allowed and (bool(allowed) or self.is_loopback(listen_host))

    @staticmethod
    def is_loopback(host: str) -> bool:
        """Returns whether this listening address is only reachable from this machine."""
        address = _address(host)
        return host == "localhost" or (address is not None and address.is_loopback)

    def check(self, scope: Scope) -> None:
        """Raises: Forbidden when the Host header names a host that is not ours."""
        if not self._is_checked:
            return
        header = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if header in self._accepted:
            return
        self._check_name(header)
        if len(self._accepted) < _MAX_ACCEPTED:
            self._accepted.add(header)

    def _check_name(self, header: bytes) -> None:
        name = _without_port(header.decode("latin-1")).lower()
        # An address or a single label (localhost, a container's name) cannot be a web page's domain.
        if name in self._allowed or "." not in name.strip(".") or _address(name) is not None:
            return
        if name.endswith((".localhost", ".local", ".internal")):  # Ollama's list
            return
        raise Forbidden(f"host '{name[:100]}' is not allowed; add it to TURBOV2_ALLOWED_HOSTS")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
