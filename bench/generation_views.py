"""Results of the section `generation`, as tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.picture import BLUE, GREY, LIGHT_BLUE, save, where
from bench.table import Result, Table, number, ranged, verdict

_COLOURS = (BLUE, GREY, LIGHT_BLUE)


def tables(result: Result) -> Iterator[Table]:
    """Yields the comparison, and what becomes of slots and of embeddings."""
    settings = result["settings"]
    rows = [
        (f"{row['streams']}: {name}", ranged(found["tokens_s"]), ranged(found["first_ms"]))
        for row in result["compared"]
        for name, found in row["servers"].items()
    ]
    title = (
        f"SmolLM2-135M, answers of {settings['n_tokens']} tokens through /v1/messages, "
        f"{settings['slots']} slots of {settings['context']:,} tokens, {settings['n_rounds']} rounds"
    )
    yield Table(title, ("streams at a time", "tokens/s", "first words, ms"), rows)
    yield Table(
        "Ours by the faster of llama.cpp's",
        (
            "streams at a time",
            "which",
            "speed",
            "target",
            "first words later, ms",
            "target",
            "",
            "others' CPU",
        ),
        [_compared(row) for row in result["compared"]],
    )
    yield _slots(result)
    header = ("model", "alone p50", "p99", "beside p50", "p99", "p99 ratio (min-max)", "target", "")
    rows = [
        (f"{row['model']}, {row['streams']} answers", *_latencies(row), ranged(row["ratio"]), "<= 2",
         verdict(row["met"]))
        for row in result["beside"]
    ]  # fmt: skip
    yield Table("ms of a single text, alone and while so many answers are written at a time", header, rows)


def _compared(row: dict[str, Any]) -> tuple[str, ...]:
    speed = (row["best"], ranged(row["ratio"]), ">= 0.97")
    later = (ranged(row["later_ms"]), "<= 5", verdict(row["met"]))
    return (str(row["streams"]), *speed, *later, f"{row['others_share']:.0%}")


def _slots(result: Result) -> Table:
    turn = result["second_turn"]
    rows = [
        (f"first words behind {turn['prompt_tokens']:,} tokens, ms", ranged(turn["first_ms"]), "", ""),
        ("of a second turn, which repeats them, ms", ranged(turn["second_ms"]), "", ""),
        ("times sooner", ranged(turn["times"]), ">= 5", verdict(turn["met"])),
    ]
    rows += [
        (f"a client leaves while {row['what']}: the slot is free after ms", ranged(row["freed_ms"]),
         "<= 200", verdict(row["met"]))
        for row in result["left"]
    ]  # fmt: skip
    return Table("What becomes of slots", ("what", "measured", "target", ""), rows)


def _latencies(row: dict[str, Any]) -> list[str]:
    names = ("alone_p50_ms", "alone_p99_ms", "beside_p50_ms", "beside_p99_ms")
    return [number(row[name]["median"]) for name in names]


def draw(result: Result) -> None:
    """Draws tokens a second and the time to the first words."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = list(result["compared"][0]["servers"])
    for axes, key, label in zip(
        figure.subplots(1, 2),
        ("tokens_s", "first_ms"),
        ("tokens a second", "ms to the first words"),
        strict=True,
    ):
        _bars(axes, result, names, key)
        axes.set_xlabel(label)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"SmolLM2-135M through /v1/messages, streaming ({where(result)})", fontsize=11)
    save(figure, "generation")


def _bars(axes: Axes, result: Result, names: list[str], key: str) -> None:
    for place, (name, colour) in enumerate(zip(names, _COLOURS, strict=True)):
        found = [row["servers"][name][key] for row in result["compared"]]
        y = [at + 0.26 * (place - 1) for at in range(len(found))]
        axes.barh(y, [each["median"] for each in found], 0.24, color=colour, label=name)
        for at, each in zip(y, found, strict=True):
            axes.text(each["median"], at, f" {number(each['median'])}", va="center", fontsize=8)
    counts = [row["streams"] for row in result["compared"]]
    axes.set_yticks(range(len(counts)), [f"{n} stream{'s' * (n > 1)}" for n in counts])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
