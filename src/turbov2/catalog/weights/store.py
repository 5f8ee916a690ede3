"""The weights on this machine: one object that finds, fetches, checks and removes them."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

from turbov2.catalog.spec import HubWeights, ModelSpec, PackageWeights, PathWeights, RemoteWeights
from turbov2.catalog.weights import manifest, package
from turbov2.catalog.weights.checks import disk_errors, file_sha256, safe_name
from turbov2.catalog.weights.folder import locate_folder
from turbov2.catalog.weights.hub import Hub
from turbov2.catalog.weights.installed import Installed, elsewhere
from turbov2.catalog.weights.lock import held
from turbov2.catalog.weights.manifest import Manifest, StoredFile
from turbov2.catalog.weights.progress import Steps
from turbov2.catalog.weights.source import source_text
from turbov2.errors import InvalidRequest, PullFailed
from turbov2.types.status import PullProgress

__all__ = ["Installed", "WeightsStore", "source_text"]


class WeightsStore:
    """Every model's weights under one home. A model is installed if its manifest and files agree."""

    def __init__(self, home: Path, *, hub: Hub | None = None) -> None:
        self._models = home.absolute() / "models"
        self._hub = hub or Hub()

    def locate(self, spec: ModelSpec) -> Installed | None:
        """Returns the installed weights; None if a file is missing or of another size. Reads no content."""
        weights = spec.weights
        if isinstance(weights, PathWeights):
            return locate_folder(weights, spec.backend)
        if isinstance(weights, RemoteWeights):
            return elsewhere(spec.name)
        if isinstance(weights, PackageWeights) and weights.installed:
            return package.locate_installed(weights)
        found = self._manifest(spec)
        return found.installed() if found else None

    def verify(self, spec: ModelSpec) -> None:
        """Raises PullFailed, naming the file, unless every file still has its hash.

        A folder of the user's has no known hashes, so there only its presence is checked.
        """
        if isinstance(spec.weights, PackageWeights) and spec.weights.installed:
            package.verify_installed(spec.weights)
            return
        if self.locate(spec) is None:
            raise PullFailed(f"the weights of {spec.name} are not on this machine; pull them")
        found = self._manifest(spec)
        damaged = _damaged(found, None) if found else None
        if damaged:
            raise PullFailed(f"{damaged.name} of {spec.name} is damaged; pull it again")

    def pull(
        self,
        spec: ModelSpec,
        on_progress: Callable[[PullProgress], None],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Installed:
        """Returns the weights, now on this machine and checked. Blocks; call it in a thread.

        One pull of a model runs at a time on the machine; another waits, then finds the work done. A pull
        that was cut short, cancelled or killed is gone on with by the next.

        Raises:
            PullFailed: PullCancelled if `is_cancelled` asked for it, else what went wrong and what mends it.
            InvalidRequest: the weights are the user's own folder, and it is not there.
        """
        steps = Steps(on_progress, is_cancelled)
        steps.tell("resolving")
        with disk_errors():
            installed = self._from_here(spec) or self._pull(spec, steps)
        steps.tell("done")
        return installed

    def delete(self, spec: ModelSpec) -> bool:
        """Returns whether there was anything to remove; afterwards the model is not installed.

        Raises:
            InvalidRequest: the weights are not ours to remove, or a pull of them is running.
        """
        weights = spec.weights
        if isinstance(weights, PathWeights):
            raise InvalidRequest(f"the weights of {spec.name} are a folder of yours; remove it yourself")
        if isinstance(weights, RemoteWeights):
            raise InvalidRequest(f"{spec.name} runs on another server; take it out of your models file")
        if isinstance(weights, PackageWeights) and weights.installed:
            raise InvalidRequest(f"the weights of {spec.name} come with the install and cannot be removed")
        with disk_errors(), held(self._path(spec, ".lock"), None):
            return self._delete(spec)

    def _from_here(self, spec: ModelSpec) -> Installed | None:
        """Returns weights that no pull brings; None for those that one does."""
        weights = spec.weights
        if isinstance(weights, PathWeights):
            found = locate_folder(weights, spec.backend)
            if found is None:
                raise InvalidRequest(f"the folder set for {spec.name} does not exist or has no model files")
            return found
        if isinstance(weights, RemoteWeights):
            return elsewhere(spec.name)
        if isinstance(weights, PackageWeights) and weights.installed:
            package.verify_installed(weights)
            return package.locate_installed(weights)
        return None

    def _pull(self, spec: ModelSpec, steps: Steps) -> Installed:
        with held(self._path(spec, ".lock"), steps):
            made = self._settled(spec, steps)
            if made is None:
                made = self._fetched(spec, steps)
                if not made.is_whole():
                    raise PullFailed(f"files of {spec.name} were removed while it was pulled; pull again")
                steps.tell("publishing")
                manifest.write(self._path(spec, ".json"), made)
        return made.installed()

    def _settled(self, spec: ModelSpec, steps: Steps) -> Manifest | None:
        """Returns the manifest if the weights are here, undamaged, and no newer ones can be asked for."""
        found = self._manifest(spec)
        moves = isinstance(spec.weights, HubWeights) and not spec.weights.revision
        if found is None or (moves and not self._hub.is_offline()):
            return None
        return None if _damaged(found, steps) else found

    def _fetched(self, spec: ModelSpec, steps: Steps) -> Manifest:
        weights = spec.weights
        now = dt.datetime.now(dt.UTC)
        if isinstance(weights, HubWeights):
            revision, files = self._hub.pull(weights, spec.backend, steps)
            return Manifest(spec.name, weights, revision, files, now)
        assert isinstance(weights, PackageWeights)
        version = package.digest(weights)[:12]
        final = self._path(spec) / version
        package.pull_members(weights, spec.backend, self._path(spec, ".partial") / version, final, steps)
        shutil.rmtree(self._path(spec, ".partial"), ignore_errors=True)
        return Manifest(spec.name, weights, weights.version, package.stored(weights, final), now)

    def _delete(self, spec: ModelSpec) -> bool:
        path = self._path(spec, ".json")
        found = manifest.read(path)
        existed = path.exists()
        origin = found.weights if found else spec.weights
        if isinstance(origin, HubWeights):
            others = self._paths_in_use(path)
            own = [file.path for file in found.files if file.path not in others] if found else []
            existed |= self._hub.remove(origin.repo, own)
        path.unlink(missing_ok=True)
        for folder in (self._path(spec), self._path(spec, ".partial")):
            existed |= folder.exists()
            shutil.rmtree(folder, ignore_errors=True)
        return existed

    def _paths_in_use(self, but_for: Path) -> set[str]:
        """Returns the files of all other installed models: several may be built on the same repository."""
        found = (manifest.read(path) for path in self._models.glob("*.json") if path != but_for)
        return {file.path for one in found if one for file in one.files}

    def _manifest(self, spec: ModelSpec) -> Manifest | None:
        found = manifest.read(self._path(spec, ".json"))
        return found if found and found.fits(spec.weights) and found.is_whole() else None

    def _path(self, spec: ModelSpec, suffix: str = "") -> Path:
        return self._models / (safe_name(spec.name) + suffix)


def _damaged(found: Manifest, steps: Steps | None) -> StoredFile | None:
    """Returns the first file that no longer has its hash."""
    for file in found.files:
        told = steps.meter("verifying", file.name, file.sha256, file.bytes) if steps else None
        if file_sha256(Path(file.path), told) != file.sha256:
            return file
    return None
