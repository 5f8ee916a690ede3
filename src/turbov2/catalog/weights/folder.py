"""Weights in a folder that the user keeps: found and listed, never written or removed."""

from __future__ import annotations

from pathlib import Path

from turbov2.catalog.spec import PathWeights
from turbov2.catalog.weights.checks import is_refused
from turbov2.catalog.weights.installed import Installed, digest_of, newest


def locate_folder(weights: PathWeights, backend: str) -> Installed | None:
    """Returns the loadable files directly in the folder, or the one file that `path` names; None if none.

    The digest stands for names, sizes and times: hashing gigabytes at every listing would take minutes.
    """
    if not weights.path:
        return None
    top = Path(weights.path).expanduser().absolute()
    try:
        paths = [top] if top.is_file() else sorted(top.iterdir()) if top.is_dir() else []
        files = [path for path in paths if path.is_file() and not is_refused(path.name, backend)]
        stats = {path: path.stat() for path in files}
    except OSError:
        return None
    if not files:
        return None
    return Installed(
        files={path.name: str(path) for path in files},
        revision="",
        digest=digest_of((path.name, f"{stat.st_size} {stat.st_mtime_ns}") for path, stat in stats.items()),
        size_bytes=sum(stat.st_size for stat in stats.values()),
        modified_at=newest(files),
    )
