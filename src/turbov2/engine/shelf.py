"""Shelf: the catalogue as it stands on this machine - what is here, what is missing and what mends it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from msgspec.structs import replace

from turbov2.backends.abilities import abilities_of
from turbov2.backends.registry import BACKENDS, missing_modules, program_of
from turbov2.catalog import Catalog, HubWeights, ModelSpec, PackageWeights, PathWeights
from turbov2.catalog.weights import Installed, WeightsStore, source_text
from turbov2.engine.serving import serving_of
from turbov2.errors import LicenseNotAccepted, ModelNotFound, ModelUnavailable, RequestError
from turbov2.settings import Settings, SettingsError, read_secret
from turbov2.types import Ability, LoadSpec, ModelStatus, PullProgress
from turbov2.types.status import Availability

DISTRIBUTION = "deposium-embeddings-turbov2"
_WRITING = ("vision", "generate")
# Of a backend that runs somebody's program: (reason, fix) while that is not there.
_PROGRAMS = {
    "vllm_local": (
        "there is no Python with vLLM",
        "set TURBOV2_VLLM_PYTHON to that of an environment in which vLLM is installed",
    ),
    "bitnet": (
        "there is no built bitnet.cpp",
        "set BITNET_PATH to its folder, with build/bin/llama-server in it",
    ),
}


class Shelf:
    """Catalogue and weights together. All methods may block; pulls take as long as the network."""

    def __init__(
        self, catalog: Catalog, store: WeightsStore, auto_pull: bool, accepted_licenses: Collection[str] = ()
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._auto_pull = auto_pull
        self._accepted_licenses = frozenset(catalog.resolve(name).name for name in accepted_licenses)
        self._verified: set[str] = set()
        self._abilities: dict[str, tuple[str, tuple[Ability, ...]]] = {}  # by name, of weights of this digest

    def obstacle(self, spec: ModelSpec) -> tuple[str, str]:
        """Returns (reason, fix) if no download can make the model run here, else two empty strings."""
        if spec.backend not in BACKENDS:
            return (
                f"its backend '{spec.backend}' is not built yet",
                "upgrade once the changelog names this backend",
            )
        if missing_modules(spec.backend):
            return f"the extra '{spec.extra}' is not installed", f"pip install '{DISTRIBUTION}[{spec.extra}]'"
        if BACKENDS[spec.backend].program:
            if program_of(spec.backend, spec.options) is None:
                return _PROGRAMS[spec.backend]
            if spec.runner != "process":  # the program's end would be that of the whole server
                return f"its runner is '{spec.runner}'", 'set its runner to "process" in your models file'
        if isinstance(spec.weights, PathWeights) and not spec.weights.path:
            return "its weights are not published yet", "name a folder in your own models file"
        variable = key_variable(spec)
        if variable and read_secret(variable) is None:
            return (
                f"the variable '{variable}' is not set",
                "set it to the other server's key, and start again",
            )
        return "", ""

    def status(self, spec: ModelSpec) -> ModelStatus:
        """Returns how the model stands here. Loads and fetches nothing."""
        return replace(self._standing(spec), stands_in_for=self.catalog.stands_in_for(spec))

    def _standing(self, spec: ModelSpec) -> ModelStatus:
        reason, fix = self.obstacle(spec)
        installed = self._store.locate(spec)
        if reason:
            return _status(spec, installed, "unavailable", reason, fix)
        if installed is None:
            return _status(spec, None, "absent", *self._why_absent(spec))
        return _status(spec, installed, "installed", "", "")

    def described(self, spec: ModelSpec) -> ModelStatus:
        """Returns how the model stands here, and what the files of one that writes say of it."""
        status = self.status(spec)
        is_known = spec.capability in _WRITING and status.availability == "installed"
        return replace(status, abilities=self._abilities_of(spec, status.digest)) if is_known else status

    def _abilities_of(self, spec: ModelSpec, digest: str) -> tuple[Ability, ...]:
        known, abilities = self._abilities.get(spec.name, ("", ()))
        if known != digest and (load := self.peek(spec)) is not None:
            abilities = abilities_of(spec.backend, load.files, spec.options)
            self._abilities[spec.name] = digest, abilities
        return abilities

    def check_here(self, spec: ModelSpec) -> Installed | None:
        """Returns the weights; None where they are not here but are fetched unasked, on first use.

        Raises: ModelUnavailable, ModelNotFound where neither will do.
        """
        reason, fix = self.obstacle(spec)
        if reason:
            raise ModelUnavailable(f"model '{spec.name}' cannot run here: {reason}; {fix}", param="model")
        installed = self._store.locate(spec)
        if installed is None and not self._is_fetched_unasked(spec):
            reason, fix = self._why_absent(spec)
            raise ModelNotFound(f"model '{spec.name}' is {reason}: {fix}", param="model")
        return installed

    def load_spec(self, spec: ModelSpec) -> LoadSpec:
        """Returns what a runner needs, pulling the weights first if that is allowed.

        Raises: ModelUnavailable, ModelNotFound when the weights are not here, PullFailed.
        """
        installed = self.check_here(spec) or self._store.pull(spec, lambda progress: None)
        if spec.name not in self._verified:
            self._store.verify(spec)
            self._verified.add(spec.name)
        return _load_spec(spec, installed)

    def peek(self, spec: ModelSpec) -> LoadSpec | None:
        """Returns what a runner would need, None while the weights are not here. Fetches nothing."""
        installed = self._store.locate(spec)
        return _load_spec(spec, installed) if installed is not None else None

    def pull(
        self,
        spec: ModelSpec,
        on_progress: Callable[[PullProgress], None],
        cancelled: threading.Event,
        *,
        accept_license: bool,
    ) -> Installed:
        """Returns the weights once they are complete and checked. Raises: PullFailed, LicenseNotAccepted."""
        if not accept_license and self._wants_acceptance(spec):
            raise LicenseNotAccepted(
                f"the licence of '{spec.name}' restricts its use: {spec.licence}; read it, and accept it "
                f'with `turbov2 pull {spec.name} --accept-license`, "accept_license": true in /api/pull, or '
                f"TURBOV2_ACCEPT_LICENSES={spec.name}",
                param="model",
            )
        return self._store.pull(spec, on_progress, cancelled.is_set)

    def delete(self, spec: ModelSpec) -> bool:
        """Returns whether there were weights to remove. Raises: InvalidRequest for those that cannot go."""
        self._verified.discard(spec.name)
        return self._store.delete(spec)

    def _is_fetched_unasked(self, spec: ModelSpec) -> bool:
        if self._wants_acceptance(spec):
            return False
        return not isinstance(spec.weights, PathWeights) and self._auto_pull and is_pinned(spec)

    def _wants_acceptance(self, spec: ModelSpec) -> bool:
        """Returns whether the licence is still to be accepted; weights that are here came with a yes."""
        if not spec.restricted or spec.name in self._accepted_licenses:
            return False
        return isinstance(spec.weights, HubWeights | PackageWeights) and self._store.locate(spec) is None

    def _why_absent(self, spec: ModelSpec) -> tuple[str, str]:
        if isinstance(spec.weights, PathWeights):
            return "not here: its folder is missing or holds no weights", "correct `path` in your models file"
        if self._wants_acceptance(spec):
            return (
                f"not downloaded, and its licence restricts its use: {spec.licence}",
                f"accept it with turbov2 pull {spec.name} --accept-license",
            )
        fix = f"try pulling it first: turbov2 pull {spec.name}"
        if not is_pinned(spec):
            return "not downloaded, and its source is not pinned to a commit", fix
        if not self._auto_pull:
            return "not downloaded, and automatic download is off", fix
        return "not downloaded yet; it is fetched on first use", f"turbov2 pull {spec.name} fetches it now"


def load_catalog(settings: Settings) -> Catalog:
    """Returns the shipped catalogue with the user's file and variables.

    Raises: CatalogError, SettingsError.
    """
    chosen = Path(settings.models_file).expanduser() if settings.models_file else None
    usual = settings.home_path / "models.toml"
    pairs = (pair.partition("=") for pair in settings.model_aliases)
    stand_ins = [(name.strip(), model.strip()) for name, _, model in pairs]
    path = chosen or (usual if usual.is_file() else None)
    return Catalog.load(path, settings.hub_overrides, stand_ins, serving_of(settings))


def open_shelf(settings: Settings, catalog: Catalog) -> Shelf:
    """Returns the catalogue with the weights these settings keep. Raises: SettingsError."""
    store = WeightsStore(settings.home_path)
    try:
        return Shelf(catalog, store, settings.auto_pull, settings.accept_licenses)
    except RequestError as error:
        raise SettingsError(f"TURBOV2_ACCEPT_LICENSES: {error.message}") from error


def is_pinned(spec: ModelSpec) -> bool:
    """Returns whether the source names exact bytes, so that fetching it unasked is safe."""
    return not isinstance(spec.weights, HubWeights) or bool(spec.weights.revision)


def key_variable(spec: ModelSpec) -> str:
    """Returns the variable that holds the key of the server that runs the model; empty if there is none."""
    return str(spec.options.get("key_variable", "")) if spec.runner == "remote" else ""


def weights_key(spec: ModelSpec) -> str:
    """Returns the residency key: names that load the same weights the same way share it.

    A digest, because events show it and folders stay private.
    """
    how = (spec.runner, spec.device, spec.pooling, spec.max_tokens, sorted(spec.options.items()))
    return f"{spec.backend}:{hashlib.sha256(f'{source_text(spec)}:{how}'.encode()).hexdigest()[:16]}"


def _load_spec(spec: ModelSpec, installed: Installed) -> LoadSpec:
    return LoadSpec(
        model=spec.name,
        backend=spec.backend,
        files=installed.files,
        revision=installed.revision,
        max_tokens=spec.max_tokens,
        pooling=spec.pooling,
        options=spec.options,
    )


def _status(
    spec: ModelSpec, installed: Installed | None, availability: Availability, reason: str, fix: str
) -> ModelStatus:
    source = "path" if isinstance(spec.weights, PathWeights) else source_text(spec)  # folders stay private
    return ModelStatus(
        name=spec.name,
        aliases=spec.aliases,
        capability=spec.capability,
        backend=spec.backend,
        runner=spec.runner,
        summary=spec.summary,
        licence=spec.licence,
        source=source,
        revision=installed.revision if installed else "",
        digest=installed.digest if installed else hashlib.sha256(source.encode()).hexdigest(),
        size_bytes=installed.size_bytes if installed else spec.host_bytes,
        availability=availability,
        reason=reason,
        fix=fix,
        modified_at=installed.modified_at if installed else None,
        dimensions=spec.dimensions,
        is_matryoshka=spec.matryoshka,
        max_tokens=spec.max_tokens,
        pooling=spec.pooling,
        n_parameters=spec.n_parameters,
        query_prompt=spec.query_prompt,
        document_prompt=spec.document_prompt,
    )
