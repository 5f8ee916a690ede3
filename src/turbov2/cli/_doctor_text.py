"""The doctor's report as people read it: sections of lines, each with a mark and, if need be, its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from turbov2.cli._console import out, print_table, size_text

if TYPE_CHECKING:
    from turbov2.cli._probe import Machine, Report

GOOD, POOR, BAD = ("ok", "green"), ("--", "yellow"), ("!!", "bold red")
Mark = tuple[str, str]
Line = tuple[Mark, str, str, str]  # mark, subject, what was found, what mends it


def print_report(report: Report) -> None:
    """The report is on stdout, the verdict last."""
    sections = {
        f"TurboV2 {report.version}": _machine_lines(report.machine),
        "Where it serves": _place_lines(report),
        "Extras": _extra_lines(report),
        "Models": _model_lines(report),
    }
    for title, lines in sections.items():
        _print_section(title, lines)
    _print_verdict(out(), report)


def _machine_lines(machine: Machine) -> Iterator[Line]:
    limit = machine.memory_limit_bytes
    container = f", the container may use {size_text(limit)}" if limit < machine.memory_bytes else ""
    yield GOOD, "python", machine.python, ""
    yield GOOD, "platform", machine.platform, ""
    yield GOOD, "cores", str(machine.cores), ""
    yield GOOD, "memory", size_text(machine.memory_bytes) + container, ""
    for gpu in machine.gpus:
        yield GOOD, "gpu", f"{gpu.name}, {size_text(gpu.memory_bytes)}, driver {gpu.driver}", ""
    if not machine.gpus:
        yield POOR, "gpu", "none found; models run on the CPU", ""


def _place_lines(report: Report) -> Iterator[Line]:
    port = report.port
    fix = "if that is not your server: turbov2 serve --port PORT" if port.obstacle else ""
    yield (POOR if port.obstacle else GOOD), "port", f"{port.port} is {port.obstacle or 'free'}", fix
    for name, folder in report.folders.items():
        found = f"{folder.path}, {size_text(folder.free_bytes)} free"
        if folder.is_writable:
            yield GOOD, name, found, ""
        else:
            yield POOR, name, f"{found}, not writable", "TURBOV2_HOME and HF_HOME choose other folders"


def _extra_lines(report: Report) -> Iterator[Line]:
    if not report.extras:
        yield POOR, "all", "unknown: this is not an installed package", "pip install ."
    for extra in report.extras:
        usable = [backend for backend in extra.backends if backend not in report.backends_not_built]
        use = f"for {', '.join(usable)}" if usable else "nothing in this version uses it yet"
        if extra.is_installed:
            yield GOOD, extra.name, f"installed ({use})", ""
        else:
            yield POOR, extra.name, f"missing {', '.join(extra.missing)} ({use})", extra.install


def _model_lines(report: Report) -> Iterator[Line]:
    here, absent = report.models["installed"], report.models["absent"]
    yield (GOOD if here else POOR), "here", ", ".join(here) or "none", ""
    if absent:
        yield POOR, "not here", ", ".join(absent), "turbov2 pull NAME"
    n_unavailable = len(report.models["unavailable"])
    if n_unavailable:
        yield POOR, "others", f"{n_unavailable} cannot run here yet", "turbov2 models says why"
    default = report.default_model
    yield (GOOD if default.can_serve else BAD), "default", f"{default.name}: {default.outcome}", default.fix


def _print_section(title: str, lines: Iterator[Line]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for mark, subject, found, fix in lines:
        table.add_row(Text(*mark), subject, Text.assemble(found, (f"\n{fix}" if fix else "", "cyan")))
    print_table(Group(Text(title, "bold"), table, ""))


def _print_verdict(console: Console, report: Report) -> None:
    if report.default_model.can_serve:
        console.print(Text.assemble(("Ready: ", "bold green"), "turbov2 serve"))
    else:
        console.print(Text.assemble(("Not ready: ", "bold red"), "the default model cannot serve, see above"))
