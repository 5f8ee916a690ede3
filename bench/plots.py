"""Results as pictures: `bench/results/<section>*.png`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench import encoder_views, generation_views, speech_views, stress_plots
from bench.picture import save, where
from bench.table import Result

_COLOURS = {
    "turbov2 json": "#1f6feb",
    "turbov2 base64": "#79b8ff",
    "model2vec float16": "#c9a227",
    "model2vec float32": "#e3b341",
    "plain server": "#8b949e",
}
_STEP_COLOURS = ("#8b949e", "#1f6feb", "#79b8ff", "#2da44e", "#a5d6a7", "#e3b341", "#d1d5da")


def draw(result: Result) -> None:
    """Afterwards the section's pictures are up to date."""
    _PLOTS[result["section"]](result)


def _http(result: Result) -> None:
    _throughput(result)
    _ratios(result)


def _throughput(result: Result) -> None:
    scenarios = [s for s in result["scenarios"] if s["texts_per_request"] > 1]
    figure = Figure(figsize=(11, 1.15 * len(scenarios) + 1.8), layout="constrained")
    axes: Axes = figure.subplots()
    height = 0.16
    for row, scenario in enumerate(scenarios):
        names = [name for name in _COLOURS if name in scenario["contenders"]]
        for place, name in enumerate(names):
            found = scenario["contenders"][name]["texts_per_s"]
            y = row + (place - (len(names) - 1) / 2) * height
            axes.barh(
                y, found["median"], height * 0.92, color=_COLOURS[name], label=name if row == 0 else None
            )
            axes.plot([found["min"], found["max"]], [y, y], color="#24292f", lw=1)
            axes.text(found["max"] * 1.03, y, f"{found['median'] / 1000:.1f}k", va="center", fontsize=7.5)
    axes.set_yticks(range(len(scenarios)), [s["name"] for s in scenarios])
    axes.set_ylim(len(scenarios) - 0.45, -0.55)
    axes.set_xscale("log")
    axes.set_xticks([5e3, 1e4, 2e4, 5e4, 1e5, 2e5], ["5k", "10k", "20k", "50k", "100k", "200k"])
    axes.minorticks_off()
    axes.set_xlabel("texts per second (log scale); line: slowest to fastest round")
    axes.set_title(
        f"Texts per second: TurboV2 and a plain server over HTTP, model2vec in process\n{where(result)}"
    )
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    save(figure, "http_throughput")


def _ratios(result: Result) -> None:
    rows = [(s["name"], pair) for s in result["scenarios"] for pair in s["ratios"]]
    figure = Figure(figsize=(11, 0.31 * len(rows) + 1.6), layout="constrained")
    axes: Axes = figure.subplots()
    for y, (_, pair) in enumerate(rows):
        ratio, target = pair["ratio"], pair["target"]
        colour = {True: "#2da44e", False: "#cf222e", None: "#57606a"}[pair["met"]]
        axes.plot([ratio["min"], ratio["max"]], [y, y], color=colour, lw=2, alpha=0.5)
        axes.plot(ratio["median"], y, "o", color=colour)
        # Beyond the right edge, so that no number hides a target.
        place: Any = {"transform": axes.get_yaxis_transform(), "fontsize": 8, "va": "center"}
        axes.text(1.01, y, f"{ratio['median']:.2f}x", color=colour, **place)
        if y and rows[y - 1][0] != rows[y][0]:
            axes.axhline(y - 0.5, color="#d0d7de", lw=0.8)
        if target is not None:
            axes.plot([target, target], [y - 0.36, y + 0.36], color="#24292f", lw=1.5)
    labels = [f"{name}:  {p['ours'].removeprefix('turbov2 ')} / {p['theirs']}" for name, p in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color="#24292f", lw=0.8, ls=":")
    axes.set_xscale("log", base=2)
    ticks = [0.25, 0.5, 1, 2, 3, 4, 6]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(
        "texts/s of TurboV2 over the other's (log scale); black: target, green: met, red: not met"
    )
    axes.set_title(f"How many times as fast: median of rounds and range\n{where(result)}")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, "http_ratios")


def _start(result: Result) -> None:
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    stages = {**result["steps_s"], "first 200 on /readyz": result["ready_s"]}
    _bars(time_axes, {name: found["median"] for name, found in stages.items()}, "{:.2f} s", "#1f6feb")
    time_axes.axvline(result["targets"][0]["target"], color="#cf222e", lw=1, ls="--")
    time_axes.set_title("Seconds after the command; dashed: target", fontsize=10)
    memory = {
        name.replace(" of 32 texts,", "\nof 32 texts,"): f["median"] for name, f in result["rss_mb"].items()
    }
    _bars(memory_axes, memory, "{:.0f} MB", "#2da44e")
    memory_axes.axvline(result["targets"][1]["target"], color="#cf222e", lw=1, ls="--")
    memory_axes.set_title("Resident memory; dashed: target when ready", fontsize=10)
    save(figure, "start")


def _bars(axes: Axes, values: dict[str, float], form: str, colour: str) -> None:
    axes.barh(list(values), list(values.values()), color=colour, height=0.6)
    for y, value in enumerate(values.values()):
        axes.text(value, y, " " + form.format(value), va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)


def _kernel(result: Result) -> None:
    figure = Figure(figsize=(11, 8), layout="constrained")
    ways, steps = figure.subplots(2, 1)
    columns = list(result["embed_us_per_text"])
    for place, name in enumerate(result["embed_us_per_text"][columns[0]]):
        values = [result["embed_us_per_text"][column][name]["median"] for column in columns]
        for first in range(0, len(columns), 3):  # a line joins the batch sizes of one text length
            label = name if first == 0 else None
            part = slice(first, first + 3)
            ways.plot(columns[part], values[part], "o-", label=label, color=f"C{place}", lw=1.5, ms=4)
    ways.set_yscale("log")
    ways.set_ylabel("us a text (log scale)")
    ways.set_title(f"Text to vector in process; below is faster\n{where(result)}")
    ways.legend(fontsize=8, ncols=2)
    ways.grid(which="both", alpha=0.2)
    _stack(steps, result["request_us_per_text"])
    save(figure, "kernel")


def _stack(axes: Axes, found: dict[str, Any]) -> None:
    """Draws a request's steps as shares; what the application adds around them comes last."""
    skipped = ("write base64", "application, no socket")
    columns = list(found)
    names = [name for name in found[columns[0]] if name not in skipped]
    left = [0.0] * len(columns)
    for name, colour in zip([*names, "the rest: routing, checks, colder caches"], _STEP_COLOURS, strict=True):
        shares = []
        for column in columns:
            steps = {step: found[column][step]["median"] for step in names}
            whole = max(found[column]["application, no socket"]["median"], sum(steps.values()))
            shares.append(100 * steps.get(name, whole - sum(steps.values())) / whole)
        axes.barh(columns, shares, left=left, color=colour, label=name, height=0.7)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.set_xlabel("% of POST /api/embed, without server and socket; texts x tokens, known words")
    axes.set_title("Where a request's time goes inside the application")
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)


def _servers(result: Result) -> None:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, texts in zip(figure.subplots(1, 2), ("1 texts", "32 texts"), strict=True):
        speeds = {row["name"]: row[texts]["requests_per_s"]["median"] for row in result["servers"]}
        _bars(axes, speeds, "{:,.0f}", "#1f6feb")
        axes.set_title(f"{texts.replace('1 texts', '1 text')} of 16 tokens a request")
        axes.set_xlabel("requests per second")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.suptitle(f"The same tiny application on each HTTP server ({where(result)})", fontsize=11)
    save(figure, "servers")


_PLOTS: dict[str, Callable[[Result], None]] = {
    "http": _http,
    "start": _start,
    "kernel": _kernel,
    "servers": _servers,
    "encoders": encoder_views.draw,
    "lanes": stress_plots.lanes,
    "overload": stress_plots.overload,
    "pressure": stress_plots.pressure,
    "soak": stress_plots.soak,
    "word_errors": speech_views.draw_word_errors,
    "long_files": speech_views.draw_long_files,
    "openai_whisper": speech_views.draw_openai_whisper,
    "generation": generation_views.draw,
}
