"""The record that makes files a model: written last and whole, so a pull cut short leaves none."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import msgspec

from turbov2.catalog.spec import HubWeights, PackageWeights, Weights
from turbov2.catalog.weights.installed import Installed, digest_of

_FORMAT = 1


class StoredFile(msgspec.Struct, frozen=True):
    """One file of an installed model."""

    name: str  # in the model folder
    path: str  # absolute
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """An installed model: what was asked for, what came, and where it lies."""

    model: str
    weights: HubWeights | PackageWeights
    revision: str  # commit, or package version
    files: tuple[StoredFile, ...]
    pulled_at: dt.datetime
    format: int = _FORMAT

    def fits(self, weights: Weights) -> bool:
        """Returns whether this is a pull of `weights`: a moved repository, file list or revision is not."""
        if self.weights == weights:
            return True
        # A revision pinned later to the commit that "main" gave is the same weights.
        return isinstance(self.weights, HubWeights) and weights == msgspec.structs.replace(
            self.weights, revision=self.revision
        )

    def is_whole(self) -> bool:
        """Returns whether every file is there with its size."""
        try:
            return all(os.stat(file.path).st_size == file.bytes for file in self.files)
        except OSError:
            return False

    def installed(self) -> Installed:
        """Returns what the rest of the product sees of it."""
        return Installed(
            files={file.name: file.path for file in self.files},
            revision=self.revision,
            digest=digest_of((file.name, file.sha256) for file in self.files),
            size_bytes=sum(file.bytes for file in self.files),
            modified_at=self.pulled_at,
        )


def read(path: Path) -> Manifest | None:
    """Returns the manifest at `path`; None when there is none, or one of another format."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.format == _FORMAT and found.files else None


def write(path: Path, manifest: Manifest) -> None:
    """The manifest is at `path`, whole, even if the power fails now."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)
