"""The `turbov2` command: arguments → Settings → serve, and what people ask of models and machines.

Owns commands, terminal output and exit codes (0 ok, 1 failure, 2 wrong usage or settings, 130 interrupted).
Must not know how a model is run; command bodies import what they need, so that `--help` stays instant.
"""

from __future__ import annotations

from typing import Annotated

import typer

import turbov2
from turbov2.cli import (
    config,
    distill,
    doctor,
    embed,
    eval,
    explain,
    models,
    ps,
    pull,
    read,
    serve,
    transcribe,
)
from turbov2.cli._boundary import GuardedGroup

__all__ = ["app", "main"]

_MODELS = "Models"
_QUALITY = "Making and measuring"
_MACHINE = "Server and machine"

app = typer.Typer(
    name="turbov2",
    cls=GuardedGroup,
    help="One server for embeddings, reranking, OCR, transcription and language models.",
    epilog="Start with: turbov2 serve",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a traceback is for our own bugs; then the plain one is best
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("embed")(embed.embed)
app.command("read")(read.read)
app.command("transcribe")(transcribe.transcribe)
app.command("models", rich_help_panel=_MODELS)(models.models)
app.command("show", rich_help_panel=_MODELS)(models.show)
app.command("pull", rich_help_panel=_MODELS)(pull.pull)
app.command("delete", rich_help_panel=_MODELS)(pull.delete)
app.command("distill", rich_help_panel=_QUALITY)(distill.distill)
app.command("eval", rich_help_panel=_QUALITY)(eval.evaluate)
app.command("ps", rich_help_panel=_MACHINE)(ps.ps)
app.command("explain", rich_help_panel=_MACHINE)(explain.explain)
app.command("doctor", rich_help_panel=_MACHINE)(doctor.doctor)
app.command("config", rich_help_panel=_MACHINE)(config.config)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"turbov2 {turbov2.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Runs the command line and exits with its code."""
    app()
