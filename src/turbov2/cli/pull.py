"""`turbov2 pull` and `turbov2 delete`: weights onto this machine and off it. Needs no server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from turbov2.cli._boundary import FAILED, MISUSED, CliError, tell

if TYPE_CHECKING:
    from turbov2.catalog import ModelSpec
    from turbov2.engine.shelf import Shelf


def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names or aliases of models.")
    ] = None,
    starter: Annotated[bool, typer.Option("--starter", help="All models of the starter set.")] = False,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept licences that restrict the models' use.")
    ] = False,
) -> None:
    """Fetch the weights of models and check them.

    The licence of each is shown; one that restricts the model's use has to be accepted.
    A pull that is cut short goes on where it stopped when it is started again.
    """
    from turbov2.cli._shelf import find, open_shelf
    from turbov2.settings import load_settings

    if bool(names) == starter:
        raise CliError("say which models to pull, or --starter", "turbov2 models lists them", MISUSED)
    shelf = open_shelf(load_settings())
    specs = _starters(shelf) if starter else [find(shelf.catalog, name) for name in names or ()]
    if sum(
        not _try_fetch(shelf, spec, accept_license) for spec in specs
    ):  # one failure does not stop the others
        raise typer.Exit(FAILED)


def delete(
    name: Annotated[str, typer.Argument(help="Name or alias of the model.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model's weights from this machine."""
    from turbov2.cli._console import size_text
    from turbov2.cli._shelf import find, open_shelf
    from turbov2.settings import load_settings

    shelf = open_shelf(load_settings())
    spec = find(shelf.catalog, name)
    status = shelf.status(spec)
    if not yes and status.modified_at is not None and _was_pulled(spec):
        _confirm(f"Remove the weights of {spec.name} ({size_text(status.size_bytes)})?")
    if shelf.delete(spec):
        typer.echo(f"{spec.name} is removed")
    else:
        typer.echo(f"{spec.name} has no weights here")


def fetch(shelf: Shelf, spec: ModelSpec, *, accept_license: bool = False) -> None:
    """Afterwards the licence was shown, and the weights are here and checked.

    Raises: PullFailed, LicenseNotAccepted, InvalidRequest, KeyboardInterrupt.
    """
    from turbov2.cli._console import print_note, size_text
    from turbov2.cli._progress import PullDisplay

    print_note(f"licence of {spec.name}: {spec.licence or 'not known'}")
    try:
        with PullDisplay(spec.name) as display:
            installed = shelf.pull(spec, display.step, threading.Event(), accept_license=accept_license)
    except KeyboardInterrupt:
        print_note(f"stopped; what has arrived is kept, go on with: turbov2 pull {spec.name}")
        raise
    n_files = len(installed.files)
    files = "1 file" if n_files == 1 else f"{n_files} files"
    print_note(f"{spec.name} is here and checked: {size_text(installed.size_bytes)} in {files}")


def _try_fetch(shelf: Shelf, spec: ModelSpec, accept_license: bool) -> bool:
    from turbov2.cli._console import print_note
    from turbov2.errors import TurboError

    reason, fix = shelf.obstacle(spec)
    if reason:
        print_note(f"{spec.name} cannot run here yet: {reason}; {fix}")
    try:
        fetch(shelf, spec, accept_license=accept_license)
    except (TurboError, OSError) as error:
        return not tell(error)
    return True


def _starters(shelf: Shelf) -> Sequence[ModelSpec]:
    """Returns the starter models that have weights to fetch, also those whose backend is still to come."""
    from turbov2.catalog import PathWeights

    return [s for s in shelf.catalog if s.starter and not isinstance(s.weights, PathWeights)]


def _was_pulled(spec: ModelSpec) -> bool:
    """Returns whether a pull brings these weights; the store refuses to remove others, so nobody is asked."""
    from turbov2.catalog import HubWeights, PackageWeights

    weights = spec.weights
    return isinstance(weights, HubWeights) or (isinstance(weights, PackageWeights) and not weights.installed)


def _confirm(question: str) -> None:
    """Returns if the answer was yes. Raises: CliError when nobody can answer, Exit when it was no."""
    if not sys.stdin.isatty():
        raise CliError("nobody is there to confirm; add --yes", exit_code=MISUSED)
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)
