"""Which backend runs a model that leaves this open, and with what: as the operator's variables say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.catalog.spec import ModelSpec

Table = dict[str, Any]

REMOTE_BACKENDS = ("remote_openai", "vllm_remote")
_OPEN_BACKEND = "huggingface"  # what models have that leave it open
_BITNET = "bitnet"
_BITNET_MODEL = "bitnet-2b"
_EXTRAS = {"vllm_local": "vllm"}
# Of a table, what does not hold once another server has the weights.
_OF_WEIGHTS = ("runner", "weights", "extra", "host_bytes", "device_bytes", "device")


class Serving(msgspec.Struct, frozen=True):
    """What the operator's variables say of all models.

    llm_backend: what runs models that write, in place of huggingface. options: backend → options of its
    models that do not have them themselves. files: backend → the file that its models run from.
    """

    llm_backend: str = _OPEN_BACKEND
    options: Mapping[str, Mapping[str, Any]] = {}
    files: Mapping[str, str] = {}


def served(
    tables: Mapping[str, Table], own: Mapping[str, Table], serving: Serving
) -> tuple[dict[str, Table], dict[str, str]]:
    """Returns the models' tables, and which model answers for which that is not among them any more.

    tables: with the user's file laid over them. own: that file. A backend that it names stays.
    """
    running: dict[str, Table] = {}
    replaced: dict[str, str] = {}
    for name, given in tables.items():
        said = own.get(name, {})
        table = _completed(given)
        is_open = table.get("backend") == _OPEN_BACKEND and "backend" not in said
        if is_open and serving.llm_backend == _BITNET:
            replaced |= {each.lower(): _BITNET_MODEL for each in (name, *table.get("aliases", ()))}
            continue
        if is_open and serving.llm_backend != _OPEN_BACKEND:
            table = _moved(name, table, serving)
        file = serving.files.get(table.get("backend", ""))
        if file and "weights" not in said:
            table = table | {"weights": {"kind": "path", "path": file}}
        running[name] = table
    return running, replaced


def with_options(spec: ModelSpec, serving: Serving) -> ModelSpec:
    """Returns the model with the options of its backend that it does not have itself.

    One that names its own server gets none: the variables' key is for their server alone.
    """
    if spec.backend in REMOTE_BACKENDS and "base_url" in spec.options:
        return spec
    return replace(spec, options={**serving.options.get(spec.backend, {}), **spec.options})


def _completed(table: Table) -> Table:
    """Returns the table of a model that writes with a backend, if it names none."""
    if "backend" in table or table.get("capability") != "generate":
        return table
    return {"backend": _OPEN_BACKEND, "runner": "process", "extra": _OPEN_BACKEND, **table}


def _moved(name: str, table: Table, serving: Serving) -> Table:
    """Returns the table of a model that another backend runs."""
    backend = serving.llm_backend
    if backend not in REMOTE_BACKENDS:
        return table | {"backend": backend, "extra": _EXTRAS.get(backend, "")}
    kept = {key: value for key, value in table.items() if key not in _OF_WEIGHTS}
    there = serving.options.get(backend, {}).get("model") or table.get("weights", {}).get("repo", name)
    return kept | {"backend": backend, "options": {"model": there, **table.get("options", {})}}
