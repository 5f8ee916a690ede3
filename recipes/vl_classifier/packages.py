"""The Debian packages whose PDFs give real pages."""

from __future__ import annotations

from typing import NamedTuple


class Package(NamedTuple):
    """One binary package of Debian 12."""

    name: str
    version: str
    source: str
    """Source package: its pages stand on one side of the split."""
    sha256: str
    """Of the .deb file."""


PACKAGES: tuple[Package, ...] = ()
