"""Weights in a folder that the user keeps: found and listed, never written or removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from turbov2.catalog.spec import PathWeights
from turbov2.catalog.weights.checks import is_refused
from turbov2.catalog.weights.installed import Installed, digest_of, newest


def locate_folder(weights: PathWeights, backend: str) -> Installed | None:
    """Returns the folder's loadable files, or the one file that `path` names; None if none.

    Of folders inside it only Sentence Transformers' modules count, as "1_Pooling".
    The digest stands for names, sizes and times: hashing gigabytes at every listing would take minutes.
    """
    if not weights.path:
        return None
    top = Path(weights.path).expanduser().absolute()
    try:
        paths = [top] if top.is_file() else sorted(_listed(top)) if top.is_dir() else []
        files = [path for path in paths if path.is_file() and not is_refused(path.name, backend)]
        stats = {path: path.stat() for path in files}
    except OSError:
        return None
    if not files:
        return None
    return Installed(
        files={_name_in(top, path): str(path) for path in files},
        revision="",
        digest=digest_of(
            (_name_in(top, path), f"{stat.st_size} {stat.st_mtime_ns}") for path, stat in stats.items()
        ),
        size_bytes=sum(stat.st_size for stat in stats.values()),
        modified_at=newest(files),
    )


def _listed(top: Path) -> Iterator[Path]:
    yield from top.iterdir()
    yield from top.glob("[0-9]*_*/*")


def _name_in(top: Path, path: Path) -> str:
    return path.name if path == top else path.relative_to(top).as_posix()
