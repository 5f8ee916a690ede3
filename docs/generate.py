"""Writes the pages of docs/ that repeat what code and tests say: settings, models, routes, moving here, CLI.

`python -m docs.generate` writes them; `--check` changes nothing and exits 1, naming the stale ones. What is
written depends on the code alone: not on the environment, the terminal, or what is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from unittest import mock

import typer
from typer.testing import CliRunner

from tests.migration.original import rows
from turbov2.backends.registry import BACKENDS
from turbov2.catalog import Catalog, ModelSpec
from turbov2.catalog.weights import source_text
from turbov2.cli import app
from turbov2.engine import LocalEngine
from turbov2.obs.meters import Meters, metrics_table
from turbov2.server.app import _routes, make_jobs
from turbov2.server.metrics import MetricsPage
from turbov2.settings import SETTINGS, Setting, load_settings
from turbov2.wire._http import Route

FOLDER = Path(__file__).parent
WIDTH = 100

_NOTE = "<!-- Written by `make docs` from the code: change it there. -->"
# Other defaults are the same everywhere; this one follows XDG_DATA_HOME.
_SHOWN_DEFAULTS = {"home": "~/.local/share/turbov2"}
# How a handler's docstring begins: "POST /api/embed." or "GET /v1/models/{id};".
_ROUTE_NAMES = re.compile(r"[A-Z]+ /\S*?((,| and) /\S*?)*([.:;]\s+|[.:;]?$)")


def settings_page() -> str:
    """Returns docs/settings.md."""
    header = ("Variable", "Type", "Default", "Meaning")
    intro = """\
Every setting is an environment variable, read once when the server starts. A value that does not parse, or an
unknown name under `TURBOV2_`, stops the start and is named. An empty variable counts as not set. Flags of
`turbov2 serve` win over the environment; `turbov2 config` shows the values in force and where each came from.
Without `TURBOV2_HOME` an `XDG_DATA_HOME` moves its default.

Durations: `300ms`, `5m`, `1h30m`; sizes: `64MiB`, `5GB`, or bytes; lists: comma-separated.

`HF_MODEL_*` variables replace a model's repository ([how](api.md#another-repository-for-a-catalogued-model));
[models.md](models.md#repositories-that-a-variable-replaces) lists them. `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`
and `HF_HUB_OFFLINE` mean what they mean to every tool of the model hub."""
    return _page("Settings", intro, _table(header, map(_setting_row, SETTINGS)))


def _setting_row(setting: Setting) -> tuple[str, ...]:
    default = _SHOWN_DEFAULTS.get(setting.field, setting.default)
    return _code(setting.variable), setting.kind, _code(default), setting.meaning


def models_page() -> str:
    """Returns docs/models.md."""
    specs = list(Catalog.load(None, {}))
    header = (
        "Name", "Aliases", "For", "Runs in this version", "Backend", "Extra", "Runner", "Dimensions",
        "Max tokens", "Size", "Licence", "Source", "Summary",
    )  # fmt: skip
    intro = """\
The catalogue that ships with the server. A name or alias is accepted in any letter case, with or without
`:latest`. A model whose backend is not in this version is listed and does not run; `GET /api/tags` and
`turbov2 models --all` say what is in the way on your machine.

Size is the catalogue's estimate of the weights in host memory. A hub source with a 40-digit commit is fetched
on first use; one at `main` only by a pull. Add your own: [api.md](api.md#your-own-models)."""
    variables = sorted({row for spec in specs if (row := _variable_row(spec))})
    parts = (
        intro,
        _table(header, map(_model_row, specs)),
        "## Repositories that a variable replaces",
        _table(("Variable", "Repository it replaces"), variables),
    )
    return _page("Models", *parts)


def _model_row(spec: ModelSpec) -> tuple[str, ...]:
    dimensions = f"{spec.dimensions}{' or fewer' if spec.matryoshka else ''}" if spec.dimensions else ""
    return (
        _code(spec.name),
        ", ".join(map(_code, spec.aliases)),
        spec.capability,
        "yes" if spec.backend in BACKENDS else "no",
        spec.backend,
        spec.extra,
        spec.runner,
        dimensions,
        f"{spec.max_tokens:,}" if spec.max_tokens else "",
        f"{spec.host_bytes / 1e6:,.0f} MB" if spec.host_bytes else "",
        spec.licence + (", to be accepted before a pull" if spec.restricted else ""),
        _code(source_text(spec).removesuffix(":")),
        spec.summary,
    )


def _variable_row(spec: ModelSpec) -> tuple[str, str] | None:
    variable = getattr(spec.weights, "repo_variable", "")
    return (_code(variable), _code(spec.weights.repo)) if variable else None  # type: ignore[union-attr]


def routes_page() -> str:
    """Returns docs/routes.md."""
    settings = load_settings(environment={})
    engine = LocalEngine(Catalog.load(None, {}), settings)
    header = ("Method", "Path", "Error bodies", "What")
    intro = """\
Every `GET` route answers `HEAD` too; a slash at the end of a path changes nothing. The third column names the
family whose [error body](api.md#errors) the route uses."""
    routes = _routes(engine, settings, MetricsPage(Meters(), engine), make_jobs(engine, settings))
    return _page("Routes", intro, _table(header, map(_route_row, routes)))


def metrics_page() -> str:
    """Returns docs/metrics.md."""
    header = ("Name", "Type", "Labels", "Meaning")
    intro = """\
What `GET /metrics` tells, in Prometheus' text format. How to scrape it, the ledger and queries to begin with:
[observability.md](observability.md). A histogram `NAME` has `NAME_bucket`, `NAME_sum` and `NAME_count`."""
    rows = ((_code(name), kind, labels, meaning) for name, kind, labels, meaning in metrics_table())
    return _page("Metrics", intro, _table(header, rows))


def _route_row(route: Route) -> tuple[str, ...]:
    path = route.path if route.path == "/" or not route.path.endswith("/") else f"{route.path}{{id}}"
    told = (route.handler.__doc__ or "").partition("\n")[0]
    what = _ROUTE_NAMES.sub("", told, count=1)
    return ", ".join(map(_code, route.methods)), _code(path), route.family, what[:1].upper() + what[1:]


def cli_page() -> str:
    """Returns docs/cli.md."""
    group = typer.main.get_command(app)
    parts = ["What `turbov2 --help` and `turbov2 COMMAND --help` print.", _help_block([])]
    for name in group.commands:  # type: ignore[attr-defined]
        parts += [f"## turbov2 {name}", _help_block([name])]
    return _page("Command line", *parts)


def _help_block(command: Sequence[str]) -> str:
    # Typer reads the environment when it is imported: these are what it made of it.
    fixed = {"MAX_WIDTH": WIDTH, "FORCE_TERMINAL": False}
    with mock.patch.multiple("typer.rich_utils", **fixed), mock.patch.dict("os.environ", {}, clear=True):
        result = CliRunner().invoke(app, [*command, "--help"], prog_name="turbov2", catch_exceptions=False)
    lines = (line.rstrip() for line in result.output.strip("\n").splitlines())
    return "\n".join(("```text", *lines, "```"))


def migration_page() -> str:
    """Returns docs/migration.md."""
    intro = """\
For users of the original Deposium Embeddings TurboV2: each endpoint, variable, model and habit of it, what it
is here, and the test that shows so. Keep the port, the key, the base URLs and the bodies of your requests;
what is *different* is worth a look before you move. Nothing is replaced in silence: a model that cannot run
is refused by its name."""
    header = ("There", "Here", "How", "Shown by")
    parts = [intro]
    for part in dict.fromkeys(row.part for row in rows()):
        cells = (
            (row.theirs if "`" in row.theirs or part == "Behaviour" else _code(row.theirs),
             row.verdict, row.here, _code(f"tests/{row.test}"))
            for row in rows() if row.part == part
        )  # fmt: skip
        parts += [f"## {part}", _table(header, cells)]
    return _page("Moving from the original", *parts)


def decisions_page() -> str:
    """Returns docs/adr/README.md."""
    intro = "Why things are as they are: what was decided, what that cost, and what would change our mind."
    titles = {
        page.name: page.read_text("utf-8").partition("\n")[0] for page in (FOLDER / "adr").glob("0*.md")
    }
    links = (f"- [{title.lstrip('# ')}]({name})" for name, title in sorted(titles.items()))
    return _page("Decisions", intro, "\n".join(links))


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _NOTE, *parts)) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "models.md": models_page,
    "routes.md": routes_page,
    "metrics.md": metrics_page,
    "cli.md": cli_page,
    "migration.md": migration_page,
    "adr/README.md": decisions_page,
}


def stale_pages() -> list[str]:
    """Returns the names of pages that are not what the code says now."""
    return [name for name, render in PAGES.items() if _read(FOLDER / name) != render()]


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: with `--check` 1 if a page is stale, else 0 once all are written."""
    if list(arguments) not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    stale = stale_pages()
    if arguments:
        for name in stale:
            print(f"docs/{name} is stale: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (FOLDER / name).write_text(PAGES[name](), "utf-8", newline="\n")
        print(f"docs/{name} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
