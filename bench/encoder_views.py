"""The tables and the picture of section `encoders`."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.picture import BLUE, DARK, GREEN, GREY, LIGHT_BLUE, YELLOW, save, where
from bench.table import Result, Table, number, ranged, verdict

_COLOURS = {
    "turbov2 torch": LIGHT_BLUE,
    "turbov2 onnx": BLUE,
    "turbov2 int8": GREEN,
    "infinity torch": "#d0d7de",
    "infinity onnx": GREY,
    "infinity int8": "#57606a",
    "turbov2 pairs-torch": LIGHT_BLUE,
    "turbov2 pairs-onnx": BLUE,
    "infinity pairs-torch": "#d0d7de",
}


def tables(result: Result) -> Iterator[Table]:
    """Yields the ratios, all rates and the latencies under a part of the load."""
    settings = result["settings"]
    tokens = f"{settings['mean_tokens']:g} tokens a text on average"
    of = f"MiniLM, {tokens}, {settings['connections']} connections"
    header = ("a request", "compared", "ratio (min-max)", "target", "")
    rows = [
        (f"{row['shape']} ({row['kind']})", f"{row['ours']} / {row['theirs']}", ranged(row["ratio"]),
         f">= {row['target']}" if row["target"] else "", verdict(row["met"]))
        for row in result["ratios"]
    ]  # fmt: skip
    yield Table(f"{of}: ours by theirs", header, rows)
    names = list(dict.fromkeys(name for row in result["rates"] for name in row if name != "shape"))
    header = ("texts or pairs per second", *(row["shape"] for row in result["rates"]))
    rates = [(name, *(ranged(row[name]) if name in row else "" for row in result["rates"])) for name in names]
    yield Table(f"{of}: median of {settings['rounds']} rounds", header, rates)
    if result["latencies"]:
        header = ("single texts", "of its capacity", "requests/s", "p50 ms", "p99 ms", "not answered")
        waits = [
            (row["name"], f"{row['share']:.0%}", number(row["per_s"]), number(row["p50_ms"]),
             number(row["p99_ms"]), str(row["not_answered"]))
            for row in result["latencies"]
        ]  # fmt: skip
        yield Table("Time from the moment a request was due, Poisson arrivals", header, waits)


def draw(result: Result) -> None:
    """Draws texts per second of every contender by the number of texts a request."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes: Axes = figure.subplots()
    height = 0.11
    for place, row in enumerate(result["rates"]):
        names = [name for name in row if name != "shape"]
        for number_of, name in enumerate(names):
            y = place + (number_of - (len(names) - 1) / 2) * height
            found = row[name]
            axes.barh(y, found["median"], height * 0.9, color=_COLOURS.get(name, YELLOW))
            axes.plot([found["min"], found["max"]], [y, y], color=DARK, lw=1)
            axes.text(found["max"] * 1.01, y, f"{name}  {found['median']:.0f}", va="center", fontsize=7.5)
    axes.set_yticks(range(len(result["rates"])), [row["shape"] for row in result["rates"]])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("texts per second; line: slowest to fastest round")
    axes.set_title(
        f"MiniLM over HTTP, and Sentence Transformers in process ('library')\n{where(result)}", fontsize=11
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save(figure, "encoders")
