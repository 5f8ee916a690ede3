"""`turbov2 doctor`: what this machine can run, what is missing and the command that mends it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from turbov2.cli._boundary import FAILED

if TYPE_CHECKING:
    from turbov2.catalog import Catalog
    from turbov2.cli._probe import DefaultModel, Report
    from turbov2.settings import Settings
    from turbov2.types import ModelStatus


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Look at this machine: what can run, what is missing and what mends it.

    Ends with 0 if the default model can serve, else with 1.
    """
    from turbov2.cli._console import print_json
    from turbov2.cli._doctor_text import print_report
    from turbov2.settings import load_settings

    report = examine(load_settings())
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if not report.default_model.can_serve:
        raise typer.Exit(FAILED)


def examine(settings: Settings) -> Report:
    """Returns the report; the default model, if it is here, embeds one word for it. Raises: CatalogError."""
    from pathlib import Path

    from huggingface_hub import constants

    import turbov2
    from turbov2.backends.registry import BACKENDS
    from turbov2.cli._probe import Report, probe_extras, probe_folder, probe_machine, probe_port
    from turbov2.cli._shelf import open_shelf

    shelf = open_shelf(settings)
    specs = list(shelf.catalog)
    standing = [shelf.status(spec) for spec in specs]
    return Report(
        version=turbov2.__version__,
        machine=probe_machine(),
        extras=probe_extras(specs),
        backends_not_built=tuple(dict.fromkeys(s.backend for s in specs if s.backend not in BACKENDS)),
        models={kind: _names(standing, kind) for kind in ("installed", "absent", "unavailable")},
        folders={
            "data": probe_folder(settings.home_path),
            "hub cache": probe_folder(Path(constants.HF_HUB_CACHE).expanduser()),
        },
        port=probe_port(settings),
        default_model=_try_default(shelf.catalog, settings, standing),
    )


def _names(standing: Sequence[ModelStatus], availability: str) -> list[str]:
    return [model.name for model in standing if model.availability == availability]


def _try_default(catalog: Catalog, settings: Settings, standing: Sequence[ModelStatus]) -> DefaultModel:
    """Returns whether the default model embeds a word here. Fetches nothing."""
    import asyncio

    from turbov2.cli._probe import DefaultModel
    from turbov2.cli.embed import embed_once
    from turbov2.errors import TurboError

    wanted = settings.default_embed_model
    try:
        name = catalog.resolve(wanted).name
        status = next(model for model in standing if model.name == name)
        if status.availability != "installed":
            return DefaultModel(name, False, status.reason, status.fix)
        started_s = time.perf_counter()
        result = asyncio.run(embed_once(catalog, settings, name, ["hello"]))
    except TurboError as error:
        return DefaultModel(wanted, False, error.message)
    took_s = time.perf_counter() - started_s
    return DefaultModel(
        name, True, f"loads and embeds in {took_s:.2g} s, {result.vectors.shape[1]} dimensions"
    )
