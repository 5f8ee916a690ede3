"""Name → ModelSpec, from the shipped `models.toml`, the user's file and the HF_MODEL_* variables."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.catalog.serving import REMOTE_BACKENDS, Serving, served, with_options
from turbov2.catalog.spec import HubWeights, ModelSpec, RemoteWeights
from turbov2.errors import InvalidRequest, ModelNotFound
from turbov2.units import parse_duration_s

DEFAULT_TAG = ":latest"
MAX_NAME_CHARS = 256
# What follows from such a backend need not be written: there are no weights here and nothing that runs.
_REMOTE: dict[str, Any] = {"runner": "remote", "weights": {"kind": "remote"}}


class CatalogError(Exception):
    """A models file that cannot be used: names the file, the model and the key."""


class Catalog:
    """All known models, in listing order. Immutable."""

    def __init__(self, specs: Iterable[ModelSpec], stand_ins: Iterable[tuple[str, str]] = ()) -> None:
        """stand_ins: names of models that are not here, a * at their end for any, and who answers for them.

        The first that fits counts, and none does for a name of the catalogue's own.
        """
        self._stand_ins = [(name.lower(), model) for name, model in stand_ins]
        self._specs = {spec.name: spec for spec in specs}
        self._by_name: dict[str, ModelSpec] = {}
        for spec in self._specs.values():
            for name in (spec.name, *spec.aliases):
                holder = self._by_name.setdefault(name.lower(), spec)
                if holder is not spec:
                    raise CatalogError(f"the name '{name}' belongs to both '{holder.name}' and '{spec.name}'")

    @classmethod
    def load(
        cls,
        models_file: Path | None,
        overrides: Mapping[str, str],
        stand_ins: Iterable[tuple[str, str]] = (),
        serving: Serving = Serving(),  # noqa: B008 - frozen
    ) -> Catalog:
        """Returns the shipped catalogue with the user's file laid over it.

        A name that the file uses is its own, also where a shipped model has it as an alias.
        `overrides` maps a `repo_variable` to the repository that replaces the shipped one.
        Raises: CatalogError.
        """
        tables = _read(
            resources.files("turbov2.catalog").joinpath("models.toml").read_text("utf-8"), "models.toml"
        )
        origin = "the shipped catalogue"
        own: dict[str, Any] = {}
        if models_file is not None:
            origin = str(models_file)
            own = _read(_text_of(models_file), origin)
            for name, table in own.items():
                tables[name] = {**tables.get(name, {}), **table}
        running, replaced = served(tables, own, serving)
        specs = [_with_override(_to_spec(name, table, origin), overrides) for name, table in running.items()]
        specs = [with_options(spec, serving) for spec in specs]
        claimed = {each.lower() for spec in specs if spec.name in own for each in (spec.name, *spec.aliases)}
        answering = [(name, replaced.get(model.lower(), model)) for name, model in stand_ins]
        return cls(
            (spec if spec.name in own else _without(claimed, spec) for spec in specs),
            [*answering, *replaced.items()],
        )

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def resolve(self, name: str) -> ModelSpec:
        """Returns the model called `name`, with or without `:latest`, in any letter case.

        Raises: ModelNotFound; InvalidRequest when the name could not belong to any model.
        """
        spec = self._specs.get(name)
        if spec is not None:
            return spec
        if len(name) > MAX_NAME_CHARS or any(ord(char) < 32 for char in name):
            raise InvalidRequest(
                f"invalid model name: at most {MAX_NAME_CHARS} characters, no control characters",
                param="model",
            )
        plain = name.lower().removesuffix(DEFAULT_TAG)
        spec = self._by_name.get(plain) or self._by_name.get(self._stand_in(plain))
        if spec is None:
            raise ModelNotFound(f"model '{name}' not found", param="model")
        return spec

    def stands_in_for(self, spec: ModelSpec) -> tuple[str, ...]:
        """Returns the names, of those that stand for one model each, for which this one answers."""
        names = dict.fromkeys(name for name, _ in self._stand_ins if not name.endswith("*"))
        free = (name for name in names if name not in self._by_name)
        return tuple(name for name in free if self._by_name.get(self._stand_in(name)) is spec)

    def _stand_in(self, plain: str) -> str:
        """Returns the name of the model that answers for this one; empty: none does."""
        for name, model in self._stand_ins:
            if plain == name or (name.endswith("*") and plain.startswith(name[:-1])):
                return model.lower().removesuffix(DEFAULT_TAG)
        return ""


def _without(claimed: Collection[str], spec: ModelSpec) -> ModelSpec:
    """Returns a shipped model without the aliases that the user's file gives to a model of its own."""
    kept = tuple(alias for alias in spec.aliases if alias.lower() not in claimed)
    return spec if kept == spec.aliases else replace(spec, aliases=kept)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} cannot be read") from error


def _read(text: str, origin: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{origin} is not TOML: {error}") from error
    models = document.pop("models", {})
    if document or not isinstance(models, dict):
        raise CatalogError(
            f'{origin} may hold only [models."NAME"] tables, not {", ".join(document) or "a value"}'
        )
    return models


def _to_spec(name: str, table: dict[str, Any], origin: str) -> ModelSpec:
    implied = _REMOTE if table.get("backend") in REMOTE_BACKENDS else {}
    try:
        spec = msgspec.convert({**implied, **table, "name": name}, ModelSpec)
        if spec.keep_alive:
            parse_duration_s(spec.keep_alive)
        _check_remote(spec)
    except (msgspec.ValidationError, ValueError) as error:
        raise CatalogError(f"{origin}, model '{name}': {error}") from error
    return spec


def _check_remote(spec: ModelSpec) -> None:
    """Raises: ValueError for a model that is half here and half with another server."""
    said = (spec.backend in REMOTE_BACKENDS, spec.runner == "remote", isinstance(spec.weights, RemoteWeights))
    if any(said) and not all(said):
        raise ValueError(
            f"backend {' or '.join(map(repr, REMOTE_BACKENDS))}, runner 'remote' and weights of kind "
            "'remote' go together"
        )
    if any(said) and spec.capability not in ("generate", "vision"):
        raise ValueError(f"backend '{spec.backend}' is for generate and vision, not for {spec.capability}")


def _with_override(spec: ModelSpec, overrides: Mapping[str, str]) -> ModelSpec:
    weights = spec.weights
    if not isinstance(weights, HubWeights) or not overrides.get(weights.repo_variable):
        return spec
    repo, _, revision = overrides[weights.repo_variable].partition("@")
    if repo == weights.repo and not revision:
        return spec
    # The operator named this source, so what is known of the shipped one does not apply; `repo@commit` pins.
    changed = msgspec.structs.replace(weights, repo=repo, revision=revision)
    return msgspec.structs.replace(spec, weights=changed, golden=())
