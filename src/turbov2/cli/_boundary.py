"""Where every command's errors end: one line for people, one exit code for scripts, never a traceback."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

FAILED = 1
MISUSED = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# SettingsError joins its problems, each of which begins with the variable's name.


class CliError(Exception):
    """A command that cannot go on: what is wrong, and what mends it."""

    def __init__(self, message: str, hint: str = "", exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class GuardedGroup(TyperGroup):
    """The command group whose users' errors are told in one line each."""

    def invoke(self, ctx: Any) -> object:  # noqa: ANN401  its class moved between releases of Typer
        """Returns what the command returned. Raises: Exit, and what is a bug of ours."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if not tell(error):
                raise
            raise typer.Exit(exit_code_of(error)) from error


def tell(error: Exception) -> bool:
    """Returns whether the error is one a user can act on; then it is on stderr."""
    lines = _lines(error)
    if not lines:
        return False
    from turbov2.cli._console import print_error

    for message, hint in lines:
        print_error(message, hint)
    return True


def exit_code_of(error: Exception) -> int:
    """Returns the code this error ends the process with."""
    from turbov2.catalog.catalog import CatalogError
    from turbov2.settings import SettingsError

    if isinstance(error, CliError):
        return error.exit_code
    return MISUSED if isinstance(error, (SettingsError, CatalogError)) else FAILED


def _lines(error: Exception) -> list[tuple[str, str]]:
    """Returns (message, hint) pairs; none for what is not a user's error."""
    from turbov2.catalog.catalog import CatalogError
    from turbov2.errors import TurboError
    from turbov2.settings import SettingsError

    if isinstance(error, CliError):
        return [(error.message, error.hint)]
    if isinstance(error, SettingsError):
        return [(problem, "") for problem in error.problems]
    if isinstance(error, CatalogError):
        return [(str(error), "")]
    if isinstance(error, TurboError):
        return [(error.message, "")]
    # A closed pipe is Typer's to end.
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f": {error.filename}" if error.filename else ""
        return [(f"{error.strerror or error}{where}", "")]
    return []
