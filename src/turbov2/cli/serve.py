"""`turbov2 serve`: from flags and environment to a listening server."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turbov2.cli._boundary import FAILED, MISUSED, CliError

if TYPE_CHECKING:
    import socket

    from turbov2.catalog import Catalog
    from turbov2.settings import Settings

_ANY_HOST = ("0.0.0.0", "::", "")


def _env(variable: str) -> str:
    return rf"[dim]\[env: {variable}][/]"


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help=f"Address to listen on.  {_env('HOST')}")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            "-p",
            min=0,
            max=65535,
            metavar="PORT",
            help=f"Port to listen on; 0 picks a free one.  {_env('PORT')}",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"File of the keys that may call, one a line.  {_env('EMBEDDINGS_API_KEY')}"
        ),
    ] = None,
) -> None:
    """Start the server.

    Flags win over the environment; `turbov2 config` lists every setting.
    """
    # Before NumPy comes: a fork stops OpenBLAS's helpers, and a product that waits for them never ends.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from turbov2.engine.serving import unused
    from turbov2.engine.shelf import load_catalog
    from turbov2.obs.logs import configure_logs
    from turbov2.server.run import serve as run_server
    from turbov2.settings import load_settings

    flags = {
        "host": host,
        "port": None if port is None else str(port),
        "api_key": None if api_key_file is None else f"@{api_key_file}",
    }
    settings = load_settings(flags=flags)
    configure_logs(settings.log_level, settings.log_format)
    catalog = load_catalog(settings)
    _check_names(settings, catalog)
    for line in unused(settings, catalog):
        logging.getLogger("turbov2").warning(line)
    bound = _listen(settings)
    if settings.log_format == "console":
        _print_banner(settings, bound.getsockname()[1])
    if run_server(settings, catalog, bound) != 0:
        raise CliError("the server did not start; the lines above say why", "turbov2 doctor")


def _check_names(settings: Settings, catalog: Catalog) -> None:
    """Raises: CliError when a setting names no known model, before anything is loaded."""
    from turbov2.cli._shelf import find

    wanted = [("TURBOV2_DEFAULT_EMBED_MODEL", settings.default_embed_model)]
    wanted += [("TURBOV2_PRELOAD", name) for name in settings.preload]
    wanted += [("TURBOV2_PIN", name) for name in settings.pin]
    wanted += [("TURBOV2_ACCEPT_LICENSES", name) for name in settings.accept_licenses]
    wanted += [("TURBOV2_MODEL_ALIASES", pair.partition("=")[2].strip()) for pair in settings.model_aliases]
    for variable, name in wanted:
        try:
            find(catalog, name)
        except CliError as error:
            raise CliError(f"{variable}: {error.message}", error.hint, MISUSED) from error


def _listen(settings: Settings) -> socket.socket:
    """Returns the bound socket. Raises: CliError naming the port and the flag that moves it."""
    from turbov2.server.run import listen

    try:
        return listen(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            free = min(settings.port + 1, 65535)
            raise CliError(
                f"port {settings.port} is already in use; choose another with --port (or PORT)",
                f"turbov2 serve --port {free}",
                FAILED,
            ) from error
        if error.errno == errno.EACCES:
            raise CliError(
                f"port {settings.port} needs more rights; choose one above 1023 with --port"
            ) from error
        raise CliError(
            f"cannot listen on {where}: {error.strerror}; choose another address with --host"
        ) from error


def _print_banner(settings: Settings, port: int) -> None:
    """The user knows where the server is and what to type; on stderr, before the log begins."""
    import turbov2
    from turbov2.cli._console import err, make_grid, print_table

    host = "localhost" if settings.host in _ANY_HOST else settings.host
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    has_key = bool(settings.api_keys())
    header = " -H 'Authorization: Bearer KEY'" if has_key else ""
    grid = make_grid()
    grid.add_row("listening", f"http://{address}  [dim](Ctrl-C stops)[/]")
    if settings.console:
        grid.add_row("console", f"http://{address}/console  [dim](for a browser)[/]")
    grid.add_row("model", f"{settings.default_embed_model}  [dim](when a request names none)[/]")
    open_to_all = "not required  [dim](set EMBEDDINGS_API_KEY to ask for one)[/]"
    grid.add_row("key", "required" if has_key else open_to_all)
    command = f'curl {address}/api/embed{header} -d \'{{"input":"hello"}}\''
    console = err()
    console.print(f"\n[bold]TurboV2[/] {turbov2.__version__}\n")
    print_table(grid, console)
    console.print(f"[cyan]{'try':<9}[/]  {command}\n", soft_wrap=True)  # whole, to be copied
