"""Keeps the figures in docs/benchmarks.md equal to the stored results."""

from __future__ import annotations

import json

from bench.machine import RESULTS, ROOT
from bench.table import Result, Table
from bench.tables import tables_of

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- figures: written by `python -m bench` from bench/results/*.json; do not edit -->"
END = "<!-- /figures -->"
PICTURES = {
    "http": ("http_ratios", "http_throughput"),
    "start": ("start",),
    "kernel": ("kernel",),
    "servers": ("servers",),
    "encoders": ("encoders",),
    "lanes": ("lanes",),
    "overload": ("overload",),
    "pressure": ("pressure",),
    "soak": ("soak",),
    "word_errors": ("word_errors",),
    "long_files": ("long_files",),
    "openai_whisper": ("openai_whisper",),
    "generation": ("generation",),
}


def rewrite() -> None:
    """Afterwards the block between the marks holds the stored results."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{figures()}\n{END}{after}", encoding="utf-8")


def is_current() -> bool:
    """Returns whether the document shows the stored results."""
    return f"{BEGIN}\n\n{figures()}\n{END}" in DOCUMENT.read_text(encoding="utf-8")


def figures() -> str:
    """Returns the block: every stored section's tables and pictures."""
    stored = [RESULTS / f"{name}.json" for name in PICTURES]
    return "\n".join(_section(json.loads(path.read_text())) for path in stored if path.exists())


def _section(result: Result) -> str:
    facts, name = result["machine"], result["section"]
    versions = ", ".join(f"{package} {version}" for package, version in facts["packages"].items())
    load_average = ", ".join(map(str, facts["load_average_before"]))
    lines = [
        f"## `{name}`",
        "",
        f"`python -m bench {name}`, {facts['date'][:10]}, commit {facts['commit']}. "
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, Python {facts['python']}. "
        f"Load average before: {load_average}; others used {facts['others_share_before']:.0%}. "
        f"Packages: {versions}.",
        "",
    ]
    for table in tables_of(result):
        lines += [f"**{table.title}**", "", *_markdown(table), ""]
    for picture in PICTURES[name]:
        lines += [f"![{picture.replace('_', ' ')}](../bench/results/{picture}.png)", ""]
    return "\n".join(lines)


def _markdown(table: Table) -> list[str]:
    rule = "|".join(["---", *["---:"] * (len(table.header) - 1)])
    return [f"| {' | '.join(table.header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in table.rows)]
