"""Weights from a model hub: into the cache that its other tools share, each file checked on its way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from turbov2.catalog.spec import HubWeights
from turbov2.catalog.weights.checks import file_sha256, require_space, select
from turbov2.catalog.weights.fetch import RemoteFile, check, fetch
from turbov2.catalog.weights.hub_api import HubApi, hub_errors, offline_error
from turbov2.catalog.weights.hub_cache import HubCache
from turbov2.catalog.weights.lock import held
from turbov2.catalog.weights.manifest import StoredFile
from turbov2.catalog.weights.progress import Steps
from turbov2.errors import PullFailed


class Hub:
    """Pulls from one hub into one cache; without arguments, those that the environment names."""

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self._api = HubApi(endpoint, token)
        self._cache = cache

    def is_offline(self) -> bool:
        """Returns whether the hub's library was told to stay off the network."""
        return self._api.is_offline()

    def pull(self, weights: HubWeights, backend: str, steps: Steps) -> tuple[str, tuple[StoredFile, ...]]:
        """Returns the commit and its files, all of them here and checked.

        Raises:
            PullFailed: not there, not allowed, not reachable, no room, a refused format or a wrong hash.
        """
        cache = self._cache_of(weights.repo)
        commit, listed = self._list(weights, cache)
        by_name = {file.name: file for file in listed}
        files = [by_name[name] for name in select(by_name, weights.files, backend)]
        placing = _Placing(self._api, weights.repo, commit, cache, steps)
        ready = {file.name: placing.ready(file) for file in files}
        missing = [file for file in files if ready[file.name] is None]
        if missing:  # else nothing is written: the cache may be a read-only volume that others fill
            with held(cache.lock, steps):
                require_space(cache.folder, sum(map(placing.missing_bytes, missing)))
                ready |= {file.name: placing.place(file) for file in missing}
                cache.remember(weights.revision, commit)
        return commit, tuple(file for file in ready.values() if file)

    def remove(self, repo: str, paths: Sequence[str]) -> bool:
        """Returns whether anything was there: these files leave the cache, unless another snapshot uses them.

        Raises:
            InvalidRequest: a model of this repository is being pulled, and may count on these files.
        """
        cache = self._cache_of(repo)
        if not cache.folder.exists():
            return False
        with held(cache.lock, None):
            return cache.remove([Path(path) for path in paths]) | cache.remove_leftovers()

    def _cache_of(self, repo: str) -> HubCache:
        with hub_errors(repo):
            return HubCache(repo, self._cache)

    def _list(self, weights: HubWeights, cache: HubCache) -> tuple[str, list[RemoteFile]]:
        if not self.is_offline():
            return self._api.list_files(weights.repo, weights.revision)
        # Another tool may have filled the cache, as is usual on machines that never see a network.
        commit = cache.commit_of(weights.revision)
        listed = cache.list_files(commit) if commit else []
        if not commit or not listed:
            raise offline_error(weights.repo)
        return commit, listed


class _Placing(msgspec.Struct, frozen=True):
    """Brings one commit's files into the cache."""

    api: HubApi
    repo: str
    commit: str
    cache: HubCache
    steps: Steps

    def ready(self, file: RemoteFile) -> StoredFile | None:
        """Returns the file if its snapshot has it, undamaged."""
        place = self.cache.snapshot(self.commit, file.name)
        sha256 = check(file, place, self.steps)
        return StoredFile(file.name, str(place), file.size_bytes, sha256) if sha256 else None

    def place(self, file: RemoteFile) -> StoredFile:
        """Returns the file, now in its snapshot, after fetching what is missing or damaged."""
        if brought := self.ready(file):  # by another model's pull of this repository, while we waited for it
            return brought
        blob, place = self.cache.blob(file), self.cache.snapshot(self.commit, file.name)
        self.cache.discard(place)  # damaged, or not there
        sha256 = check(file, blob, self.steps) or self._fetch(file, blob)
        place = self.api.link(self.repo, self.commit, file.name, self.cache.root)
        # Where the hub's library copied the blob, or fetched by itself, that file is the one that counts.
        if not (blob.exists() and place.samefile(blob)) and file_sha256(place) != sha256:
            self.cache.discard(place)
            raise PullFailed(f"{file.name} did not match its hash and was removed; pull again")
        return StoredFile(file.name, str(place), file.size_bytes, sha256)

    def missing_bytes(self, file: RemoteFile) -> int:
        """Returns the bytes that fetching the file will add to the disk."""
        if self.cache.blob(file).exists():
            return 0
        partial = self.cache.partial(file)
        return max(0, file.size_bytes - (partial.stat().st_size if partial.exists() else 0))

    def _fetch(self, file: RemoteFile, blob: Path) -> str:
        partial = self.cache.partial(file)
        sha256 = fetch(
            file,
            partial,
            lambda start: self.api.open_file(self.repo, self.commit, file.name, start),
            self.steps,
        )
        os.replace(partial, blob)
        return sha256
