"""The tables of the sections that put the server under stress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.table import Result, Table, number, ranged, verdict


def pressure(result: Result) -> Iterator[Table]:
    """Yields memory against the budget, the ledger and what the server counted."""
    memory = result["memory"]
    top = memory["budget_mb"] + memory["head_room_mb"]
    rows = [
        ("most that all models' processes held at once, MB", number(memory["max_mb"]), f"<= {top:g}",
         verdict(memory["max_mb"] <= top)),
        ("seconds above the budget", f"{memory['s_above_budget']:g}", "", ""),
        ("seconds above budget and head-room", f"{memory['s_above_head_room']:g}", "0",
         verdict(not memory["s_above_head_room"])),
        ("samples", f"{memory['n_samples']:,}", "", ""),
        ("model processes started / ended", f"{memory['n_processes']} / {memory['n_ended']}", "", ""),
    ]  # fmt: skip
    title = f"Measured memory (USS), {_length(result)}, budget {memory['budget_mb']} MB, head-room " \
            f"{memory['head_room_mb']:g} MB"  # fmt: skip
    yield Table(title, ("what", "measured", "target", ""), rows)
    yield from _ledger(result)


def soak(result: Result) -> Iterator[Table]:
    """Yields what grew, the ledger and what the server counted."""
    rows = []
    for name, found in result["slopes"].items():
        bound = result["bounds_per_hour"].get(name)
        growth = f"{found['per_hour']:+.1f} +- {found['error_per_hour']:.1f}"
        rows.append((name, f"{found['mean']:.1f}", growth, "" if bound is None else f"< {bound:.1f}"))
    header = ("what", "mean", "growth an hour +- standard error", "bound")
    yield Table(f"What grows in {_length(result)} of mixed traffic, after the first fifth", header, rows)
    yield from _ledger(result)


def lanes(result: Result) -> Iterator[Table]:
    """Yields the interactive client's latencies alone and beside the ingest."""
    rows = []
    for found in result["contenders"]:
        latencies = [
            number(_median([entry[phase][share] for entry in found["rounds"]]))
            for phase in ("idle", "ingest")
            for share in ("p50_ms", "p99_ms")
        ]
        ends = (number(found["texts_per_s"]["median"]), str(found["refused"]), str(found["lost"]))
        rows.append((found["model"], *latencies, ranged(found["ratio"]), verdict(found["met"]), *ends))
    header = ("ms of a single text", "alone p50", "p99", "beside p50", "p99", "p99 ratio (min-max)",
              f"<= {result['target']:g}", "ingest texts/s", "refused", "lost")  # fmt: skip
    settings = result["settings"]
    title = (
        f"Single short texts alone and beside an ingest of {settings['n_texts']:,} texts on "
        f"{settings['connections']} connections, median of {settings['rounds']}"
    )
    yield Table(title, header, rows)


def overload(result: Result) -> Iterator[Table]:
    """Yields goodput and refusals at several times the capacity."""
    targets, speeds, waits = result["targets"], [], []
    for found in result["contenders"]:
        texts = [
            number(found[f"{key}_per_s"] * found["n_texts"]) for key in ("capacity", "offered", "goodput")
        ]
        share, refusal_ms = found["goodput_share"], found["refused"].get("p99_ms", 0)
        is_met = share >= targets["goodput"]
        speeds.append((found["name"], *texts, f"{share:.3f}", verdict(is_met), str(found["n_lost"])))
        latencies = [
            number(found[end].get(key, 0)) for end in ("answered", "refused") for key in ("p50_ms", "p99_ms")
        ]
        waits.append((found["name"], f"{found['refused']['n']:,}", *latencies,
                      verdict(refusal_ms <= targets["refusal_p99_ms"]), number(found["sent_late_p99_ms"]),
                      str(found["most_in_flight"])))  # fmt: skip
    yield Table(
        f"{targets['times']:g} times the capacity for {result['seconds']:g} s, texts/s",
        (
            "model",
            "capacity",
            "offered",
            "goodput",
            "goodput / capacity",
            f">= {targets['goodput']:g}",
            "lost",
        ),
        speeds,
    )
    yield Table(
        "Time from the moment a request was due, ms",
        ("model", "refused", "answered p50", "p99", "refused p50", "p99", f"<= {targets['refusal_p99_ms']:g}",
         "sent late p99", "most in flight"),
        waits,
    )  # fmt: skip


def _ledger(result: Result) -> Iterator[Table]:
    ends = ("answered", "refused", "cancelled", "wrong", "lost")
    rows = []
    for kind, found in result["ledger"]["kinds"].items():
        latencies = [number(found[key]) if key in found else "" for key in ("p50_ms", "p99_ms")]
        rows.append((kind, *(f"{found.get(end, 0):,}" for end in ends), *latencies))
    totals = result["ledger"]["totals"]
    rows.append(("all", *(f"{totals.get(end, 0):,}" for end in ends), "", ""))
    yield Table("How requests ended", ("kind", *ends, "p50 ms", "p99 ms"), rows)
    told = result["server_counts"]
    rows = [tuple(f"{told[name]:,.0f}" for name in told)]
    yield Table("What the server counted", tuple(name.replace("_", " ") for name in told), rows)


def _length(result: Result) -> str:
    minutes = result["seconds"] / 60
    return f"{minutes:g} minutes" if minutes >= 1 else f"{result['seconds']:g} seconds"


def _median(values: list[Any]) -> float:
    return float(sorted(values)[len(values) // 2])
