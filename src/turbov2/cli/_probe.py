"""Facts about this machine and this install. Reads only; imports no library that runs models."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from turbov2.catalog import ModelSpec
    from turbov2.settings import Settings

_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_GPU_TIMEOUT_S = 10  # the driver of an idle GPU may take seconds to wake
_MIB = 1 << 20


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as its driver names it."""

    name: str
    memory_bytes: int  # 0: the driver does not say
    driver: str


class Machine(msgspec.Struct, frozen=True):
    """Where this process runs and what it may use."""

    python: str
    platform: str
    cores: int  # this process may use
    memory_bytes: int
    memory_limit_bytes: int  # the container's, or all of it
    gpus: tuple[Gpu, ...]


class Extra(msgspec.Struct, frozen=True):
    """One pip extra: what it lacks here, what it enables and the command that installs it."""

    name: str
    is_installed: bool
    missing: tuple[str, ...]
    backends: tuple[str, ...]
    install: str


class Folder(msgspec.Struct, frozen=True):
    """A place where weights go."""

    path: str
    is_writable: bool
    free_bytes: int


class Port(msgspec.Struct, frozen=True):
    """Where the server would listen. `obstacle` is empty when it can."""

    host: str
    port: int
    obstacle: str


def probe_machine() -> Machine:
    """Returns the facts about this machine."""
    import psutil

    from turbov2.residency.memory import host_limit_bytes

    return Machine(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=int(psutil.virtual_memory().total),
        memory_limit_bytes=host_limit_bytes(),
        gpus=probe_gpus(),
    )


def probe_gpus() -> tuple[Gpu, ...]:
    """Returns the NVIDIA GPUs that the driver lists; none without a driver."""
    try:
        answer = subprocess.run(
            _GPU_QUERY, capture_output=True, text=True, timeout=_GPU_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    # A driver that shares the host's memory answers "[N/A]".
    return tuple(
        Gpu(name, int(mib) * _MIB if mib.isdigit() else 0, driver)
        for name, mib, driver in (r for r in rows if len(r) == 3)
    )


def probe_extras(specs: Sequence[ModelSpec]) -> list[Extra]:
    """Returns every extra of the installed distribution; its metadata is the only list of them.

    An extra enables the backends of all extras whose requirements it holds.
    """
    from turbov2.engine.shelf import DISTRIBUTION

    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return []
    needs = {
        name: _needs(name, metadata.get_all("Requires-Dist") or [])
        for name in metadata.get_all("Provides-Extra") or []
    }
    extras = []
    for name, wanted in needs.items():
        held = {spec.backend: None for spec in specs if spec.extra in needs and needs[spec.extra] <= wanted}
        missing = tuple(lack for lack in map(_lack, sorted(wanted)) if lack)
        install = f"pip install '{DISTRIBUTION}[{name}]'"
        extras.append(Extra(name, not missing, missing, tuple(held), install))
    return extras


def _needs(extra: str, requirements: Sequence[str]) -> frozenset[str]:
    """Returns the requirements that this extra adds, without their markers."""
    from packaging.requirements import Requirement

    added = set()
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            requirement.marker = None
            added.add(str(requirement))
    return frozenset(added)


def _lack(requirement: str) -> str:
    """Returns the distribution that is missing, or how its version is off; empty when all is well."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return wanted.name
    return "" if wanted.specifier.contains(found, prereleases=True) else f"{wanted} ({found} is here)"


def probe_folder(path: Path) -> Folder:
    """Returns whether weights can go there; of a folder that is not made yet, its nearest parent is asked."""
    nearest = path.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    is_writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return Folder(str(path), is_writable, shutil.disk_usage(nearest).free)


def probe_port(settings: Settings) -> Port:
    """Returns whether the server could listen where the settings say."""
    from turbov2.server.run import listen

    try:
        listen(settings).close()
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        return Port(
            settings.host, settings.port, "already in use" if is_taken else error.strerror or str(error)
        )
    return Port(settings.host, settings.port, "")


class DefaultModel(msgspec.Struct, frozen=True):
    """What came of embedding one word with the default model."""

    name: str
    can_serve: bool
    outcome: str
    fix: str = ""


class Report(msgspec.Struct, frozen=True):
    """Everything the doctor looked at."""

    version: str
    machine: Machine
    extras: list[Extra]
    backends_not_built: tuple[str, ...]  # catalogued, but not in this version
    models: dict[str, list[str]]  # availability → names
    folders: dict[str, Folder]
    port: Port
    default_model: DefaultModel
