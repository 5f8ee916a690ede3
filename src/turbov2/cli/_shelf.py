"""The catalogue and the weights as commands see them: without a server."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from turbov2.cli._boundary import CliError

if TYPE_CHECKING:
    from turbov2.catalog import Catalog, ModelSpec
    from turbov2.engine.shelf import Shelf
    from turbov2.settings import Settings


def open_shelf(settings: Settings) -> Shelf:
    """Returns every catalogued model as it stands here. Raises: CatalogError, SettingsError."""
    from turbov2.engine import shelf

    return shelf.open_shelf(settings, shelf.load_catalog(settings))


def find(catalog: Catalog, name: str) -> ModelSpec:
    """Returns the model. Raises: CliError that offers names close to an unknown one."""
    from turbov2.errors import ModelNotFound

    try:
        return catalog.resolve(name)
    except ModelNotFound as error:
        raise CliError(f"no model is called '{name}'", _suggestion(catalog, name)) from error


def _suggestion(catalog: Catalog, name: str) -> str:
    known = {word.lower(): spec.name for spec in catalog for word in (spec.name, *spec.aliases)}
    close = difflib.get_close_matches(name.lower(), known, n=3)
    names = list(dict.fromkeys(known[word] for word in close))
    if names:
        return f"did you mean {' or '.join(names)}?"
    return "see the known ones with: turbov2 models"
