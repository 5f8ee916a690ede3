"""The folder that all tools of the model hub share: blobs by hash, and snapshots that point to them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from turbov2.catalog.weights.checks import is_safe_path
from turbov2.catalog.weights.fetch import RemoteFile

COMMIT = re.compile(r"[0-9a-f]{40}")
BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# The hub's own tools count "*.incomplete" as leftovers and offer to remove them.
_PARTIAL = ".turbov2.incomplete"


class HubCache:
    """One repository's part of the cache."""

    def __init__(self, repo: str, root: Path | None = None) -> None:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        self.root = (root or Path(constants.HF_HUB_CACHE)).expanduser().resolve()
        self._name = repo_folder_name(repo_id=repo, repo_type="model")
        self.folder = self.root / self._name

    @property
    def lock(self) -> Path:
        """Held while partial files of this repository are written: two models may share one."""
        return self.root / ".locks" / self._name / "turbov2.lock"

    def blob(self, file: RemoteFile) -> Path:
        """Returns where the file's content belongs."""
        return self.folder / "blobs" / file.blob

    def partial(self, file: RemoteFile) -> Path:
        """Returns where the content grows; the hub's library itself keeps nothing of a broken download."""
        return self.folder / "blobs" / (file.blob + _PARTIAL)

    def snapshot(self, commit: str, name: str) -> Path:
        """Returns where users of `commit` look for the file."""
        return self.folder / "snapshots" / commit / name

    def remember(self, revision: str, commit: str) -> None:
        """Tools that are offline find `commit` under `revision` ("main" if empty)."""
        ref = self.folder / "refs" / (revision or "main")
        if COMMIT.fullmatch(revision) or not is_safe_path(revision or "main"):
            return
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)

    def commit_of(self, revision: str) -> str | None:
        """Returns the commit that this machine last knew for `revision` ("main" if empty)."""
        if COMMIT.fullmatch(revision):
            return revision
        ref = self.folder / "refs" / (revision or "main")
        if not is_safe_path(revision or "main") or not ref.is_file():
            return None
        commit = ref.read_text().strip()
        return commit if COMMIT.fullmatch(commit) else None

    def list_files(self, commit: str) -> list[RemoteFile]:
        """Returns the files of `commit` that are here; their hashes are their blobs' names."""
        top = self.folder / "snapshots" / commit
        found = []
        for path in sorted(top.rglob("*")):
            blob = _behind(path)
            if path.is_file() and BLOB.fullmatch(blob.name):
                found.append(RemoteFile(path.relative_to(top).as_posix(), path.stat().st_size, blob.name))
        return found

    def discard(self, path: Path) -> None:
        """The file is gone from the cache, and so is the blob it points to."""
        self._unlink({_behind(path), path})

    def remove(self, paths: list[Path]) -> bool:
        """Returns whether anything was there: these files are gone, and the blobs that only they used."""
        own = {path for path in paths if path.is_relative_to(self.folder)}
        blobs = {_behind(path) for path in own}
        self._unlink(own)
        self._unlink(blobs - {_behind(path) for path in self._in_snapshots()})
        return bool(own)

    def remove_leftovers(self) -> bool:
        """Returns whether a broken pull had left anything; the folder is gone if nothing else is in it."""
        leftovers = set(self.folder.glob(f"blobs/*{_PARTIAL}"))
        self._unlink(leftovers)
        if not self._in_snapshots():
            shutil.rmtree(self.folder, ignore_errors=True)
        return bool(leftovers)

    def _in_snapshots(self) -> list[Path]:
        return [path for path in self.folder.glob("snapshots/**/*") if path.is_file()]

    def _unlink(self, paths: set[Path]) -> None:
        for path in paths:
            # A link may lead out of the cache, to a store the hub's library shares between caches.
            if path.is_relative_to(self.folder):
                path.unlink(missing_ok=True)


def _behind(path: Path) -> Path:
    """Returns what `path` links to, one step on; itself where it is no link."""
    return Path(os.path.normpath(path.parent / os.readlink(path))) if path.is_symlink() else path
