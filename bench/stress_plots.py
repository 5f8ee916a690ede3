"""The pictures of the sections that put the server under stress."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from bench.picture import BLUE, DARK, GREEN, GREY, LIGHT_BLUE, RED, YELLOW, save, where
from bench.table import Result, number

_LAYERS = (LIGHT_BLUE, "#a5d6a7", YELLOW, "#d2a8ff")


def pressure(result: Result) -> None:
    """Draws measured memory by model against the budget: the whole run and the minute of its peak."""
    memory = result["memory"]
    figure = Figure(figsize=(12, 9), layout="constrained")
    whole, minute, marks = figure.subplots(3, 1, height_ratios=[4, 4, 1.3])
    names = sorted(memory["curves"]["models_mb"], key=lambda name: (name == "unknown", name))
    colours = dict.fromkeys(names, GREY) | dict(zip(names, _LAYERS, strict=False))
    for axes, curves in ((whole, memory["curves"]), (minute, memory["peak_minute"])):
        _stack(axes, curves, memory, colours)
    whole.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False, fontsize=9)
    told, totals = result["server_counts"], result["ledger"]["totals"]
    whole.set_title(
        f"Measured memory against the budget: never more than {memory['max_mb']:.0f} MB, budget "
        f"{memory['budget_mb']} MB, {memory['n_processes']} processes, {told['evictions']:.0f} evictions\n"
        f"{totals['sent']:,} requests, {totals['lost']} lost, {totals['wrong']} wrong ({where(result)})",
        fontsize=11,
    )
    minute.set_title("The minute of the peak, and the models' processes in it", fontsize=10)
    _lives(marks, memory, colours)
    save(figure, "pressure")


def _stack(axes: Axes, curves: dict[str, Any], memory: dict[str, Any], colours: dict[str, str]) -> None:
    seconds, held = curves["t_s"], {name: curves["models_mb"].get(name) for name in colours}
    known = {name: values for name, values in held.items() if values is not None}
    axes.stackplot(
        seconds,
        *known.values(),
        labels=list(known),
        colors=[colours[name] for name in known],
        lw=0,
        step="mid",
    )
    told = np.array(curves["committed"])
    axes.step(told[:, 0], told[:, 1], where="post", color=DARK, lw=0.6, alpha=0.6, label="committed, as told")
    budget, top = memory["budget_mb"], memory["budget_mb"] + memory["head_room_mb"]
    axes.axhline(budget, color=RED, lw=1.4, label=f"budget, {budget} MB")
    axes.axhline(top, color=RED, lw=1, ls=":", label=f"budget and head-room, {top:g} MB")
    axes.set(ylim=(0, top * 1.06), xlim=(seconds[0], seconds[-1]), ylabel="MB (USS), all models")
    axes.grid(axis="y", alpha=0.25)
    _bare(axes)


def _lives(axes: Axes, memory: dict[str, Any], colours: dict[str, str]) -> None:
    """Draws each process as a bar in its model's row: it begins with the load and ends with the unload."""
    begin_s, end_s = memory["peak_minute"]["t_s"][0], memory["peak_minute"]["t_s"][-1]
    for life in memory["lives"]:
        row, left = list(colours).index(life["model"]), life["begin_s"]
        right = end_s if life["end_s"] is None else life["end_s"]
        axes.barh(row, right - left, left=left, color=colours[life["model"]], height=0.7)
        axes.plot(left, row, "|", color=GREEN, ms=10, mew=1.6)
        if life["end_s"] is not None:
            axes.plot(right, row, "|", color=RED, ms=10, mew=1.6)
    axes.set_yticks(range(len(colours)), list(colours), fontsize=8)
    axes.set(xlim=(begin_s, end_s), ylim=(-0.6, len(colours) - 0.4))
    axes.set_xlabel("seconds of mixed traffic; green: process started, red: ended")
    _bare(axes)


def lanes(result: Result) -> None:
    """Draws the interactive client's p50 and p99, alone and beside the ingest."""
    figure = Figure(figsize=(11, 0.9 * len(result["contenders"]) + 2.2), layout="constrained")
    axes: Axes = figure.subplots()
    for place, found in enumerate(result["contenders"]):
        for phase, offset, colour in (("idle", -0.2, GREY), ("ingest", 0.2, BLUE)):
            p50, p99 = (
                sorted(entry[phase][share] for entry in found["rounds"]) for share in ("p50_ms", "p99_ms")
            )
            middle = len(p99) // 2
            label = {"idle": "alone", "ingest": "beside the ingest"}[phase] if place == 0 else None
            axes.barh(place + offset, p99[middle], 0.36, color=colour, label=label)
            axes.plot([p99[0], p99[-1]], [place + offset] * 2, color=DARK, lw=1)
            axes.plot(p50[middle], place + offset, "|", color="white", ms=14, mew=2)
            axes.text(p99[-1] * 1.04, place + offset, f"{number(p99[middle])} ms", va="center", fontsize=8)
        idle = sorted(entry["idle"]["p99_ms"] for entry in found["rounds"])
        goal_ms = idle[len(idle) // 2] * result["target"]
        axes.plot([goal_ms] * 2, [place - 0.42, place + 0.42], color=RED, lw=1.5, ls="--")
    labels = []
    for found in result["contenders"]:
        speed, ratio = number(found["texts_per_s"]["median"]), number(found["ratio"]["median"])
        labels.append(f"{found['model']}\np99 {ratio}x, ingest {speed} texts/s")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.margins(x=0.12)
    axes.set_xlabel("ms of a single short text (log scale): p99, white mark p50; dashed: 3 times idle p99")
    axes.set_title(
        f"A single text beside an ingest of {result['settings']['n_texts']:,} texts\n{where(result)}",
        fontsize=11,
    )
    axes.legend(fontsize=8, frameon=False)
    _bare(axes)
    save(figure, "lanes")


def overload(result: Result) -> None:
    """Draws what was offered, answered and refused each second, and how long both took."""
    contenders = result["contenders"]
    figure = Figure(figsize=(13, 7.6), layout="constrained")
    for column, found in enumerate(contenders):
        counts: Axes = figure.add_subplot(2, len(contenders), column + 1)
        waits: Axes = figure.add_subplot(2, len(contenders), len(contenders) + column + 1, sharex=counts)
        rows = found["timeline"]
        seconds = [row["t_s"] + 0.5 for row in rows]
        counts.plot(seconds, [row["offered"] for row in rows], color=GREY, lw=1, label="offered")
        counts.plot(seconds, [row["refused"]["n"] for row in rows], color=YELLOW, label="refused")
        counts.plot(seconds, [row["answered"]["n"] for row in rows], color=BLUE, label="answered: goodput")
        counts.axhline(found["capacity_per_s"], color=GREEN, lw=1, ls="--", label="capacity before")
        counts.set(ylabel="requests a second", ylim=(0, None))
        share = found["goodput_share"]
        counts.set_title(
            f"{found['name']}\ngoodput {share:.0%} of capacity, {found['n_lost']} lost", fontsize=10
        )
        for end, colour in (("answered", BLUE), ("refused", YELLOW)):
            for share_name, style in (("p50_ms", "-"), ("p99_ms", ":")):
                values = [row[end].get(share_name, np.nan) for row in rows]
                waits.plot(
                    seconds, values, style, color=colour, marker=".", ms=3, label=f"{end}, {share_name[:3]}"
                )
        goal_ms = result["targets"]["refusal_p99_ms"]
        waits.axhline(goal_ms, color=RED, lw=1, ls="--", label=f"{goal_ms:g} ms, refusals")
        waits.set_yscale("log")
        waits.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        waits.set(ylabel="ms since due (log scale)", xlabel="seconds")
        for axes in (counts, waits):
            axes.grid(alpha=0.25)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, frameon=False, ncols=3)
            _bare(axes)
    figure.suptitle(
        f"{result['targets']['times']:g} times the capacity, open loop ({where(result)})", fontsize=11
    )
    save(figure, "overload")


def soak(result: Result) -> None:
    """Draws everything that is watched over time, with its slope."""
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(2, 3).flat, result["curves"].items(), strict=True):
        points, slope = np.array(curve), result["slopes"][name]
        axes.plot(points[:, 0] / 60, points[:, 1], color=BLUE, lw=0.8)
        bound = result["bounds_per_hour"].get(name)
        goal = "" if bound is None else f", bound {bound:.1f}"
        growth = f"{slope['per_hour']:+.1f} +- {slope['error_per_hour']:.1f} an hour"
        axes.set_title(f"{name}\n{growth}{goal}", fontsize=9.5)
        axes.set_ylim(0, points[:, 1].max() * 1.15)
        axes.set_xlabel("minutes", fontsize=8)
        axes.grid(alpha=0.25)
        _bare(axes)
    totals = result["ledger"]["totals"]
    figure.suptitle(
        f"{totals['sent']:,} requests of mixed traffic, {totals['lost']} lost, {totals['wrong']} wrong "
        f"({where(result)})",
        fontsize=11,
    )
    save(figure, "soak")


def _bare(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
