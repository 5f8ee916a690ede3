"""Who may call: keys compared as hashes in constant time."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Iterable, Sequence

from turbov2.errors import Unauthorized
from turbov2.wire._http import Scope

_BEARER = b"bearer "
# A browser gives a WebSocket no header but its subprotocols. The first is OpenAI's way; not every key is
# spelt in the letters of a subprotocol, so the second takes it as base64url.
_KEY_PROTOCOL = "openai-insecure-api-key."
_KEY64_PROTOCOL = "turbov2-api-key."


class Keys:
    """The configured keys. Without any, everyone may call."""

    def __init__(self, keys: Sequence[str], open_paths: Sequence[str]) -> None:
        self._hashes = [_hash(key.encode()) for key in keys]
        self._open_paths = frozenset(path for path in open_paths if not path.endswith("*"))
        self._open_prefixes = tuple(path[:-1] for path in open_paths if path.endswith("*"))

    @property
    def are_required(self) -> bool:
        """Whether any key is configured."""
        return bool(self._hashes)

    def check(self, scope: Scope) -> str:
        """Returns a short id of the key that was presented, empty when none is needed.

        Any valid credential lets in, whatever stands beside it: Claude Code sends two. Raises: Unauthorized.
        """
        path = scope["path"]
        if not self._hashes or path in self._open_paths or path.startswith(self._open_prefixes):
            return ""
        presented = [*_credentials(scope["headers"]), *_browser_credentials(scope.get("subprotocols", ()))]
        for credential in presented:
            digest = _hash(credential)
            if self._is_known(digest):
                return digest.hex()[:8]
        raise Unauthorized(
            "invalid API key"
            if presented
            else "missing API key: send it as X-API-Key or Authorization: Bearer"
        )

    def _is_known(self, digest: bytes) -> bool:
        is_known = False
        for known in self._hashes:  # all of them, so that time tells nothing
            is_known |= hmac.compare_digest(known, digest)
        return is_known


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _credentials(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for name, value in headers:
        if name == b"x-api-key" and value:
            yield value
        elif (
            name == b"authorization"
            and value[: len(_BEARER)].lower() == _BEARER
            and value[len(_BEARER) :].strip()
        ):
            yield value[len(_BEARER) :].strip()


def _browser_credentials(subprotocols: Iterable[str]) -> Iterable[bytes]:
    for name in subprotocols:
        if name.startswith(_KEY_PROTOCOL):
            yield name.removeprefix(_KEY_PROTOCOL).encode("latin-1")
        elif name.startswith(_KEY64_PROTOCOL):
            encoded = name.removeprefix(_KEY64_PROTOCOL)
            with contextlib.suppress(ValueError):
                yield base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
