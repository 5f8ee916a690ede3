"""Results of the sections about speech, as tables and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.picture import BLUE, GREEN, GREY, save
from bench.table import Result, Table, number, ranged, verdict

Rows = Sequence[dict[str, Any]]
_ROLES = ("server", "decoder", "model")


def word_errors_tables(result: Result) -> Iterator[Table]:
    """Yields word error rates by kind of file, and by recording."""
    packed = {name for row in result["files"][-1:] for name in _clips_of(result, row["kind"])}
    words = {clip["name"]: clip["words"] for clip in result["clips"]}
    seconds = {clip["name"]: clip["seconds"] for clip in result["clips"]}
    n_words, n_seconds = (sum(found[name] for name in packed) for found in (words, seconds))
    rows = []
    for kind in _in_order(result, "kind"):
        of_kind = [row for row in result["files"] if row["kind"] == kind and row["clip"] in packed]
        bit_rate = 8 * sum(row["bytes"] for row in of_kind) / len(_in_order(result, "model")) / n_seconds
        rows.append((kind, f"{bit_rate / 1000:.0f}", *_rates(result, of_kind, n_words)))
    title = f"Words wrong, missing or too many, % of {n_words} in {n_seconds:.0f} s of real speech"
    yield Table(title, ("kind of file", "kbit/s", *_rate_header(result)), rows)
    first = result["files"][0]["kind"]
    rows = []
    for clip in result["clips"]:
        of_clip = [row for row in result["files"] if row["kind"] == first and row["clip"] == clip["name"]]
        cells = (clip["name"], f"{clip['seconds']:.0f}", f"{clip['words']:,}")
        rows.append((*cells, *_rates(result, of_clip, clip["words"])))
    header = ("recording", "seconds", "words", *_rate_header(result))
    yield Table(f"The same by recording, as {first}", header, rows)


def draw_word_errors(result: Result) -> None:
    """Draws word error rates by kind of file."""
    table = next(word_errors_tables(result))
    kinds, models = [row[0] for row in table.rows], _in_order(result, "model")
    figure = Figure(figsize=(9, 0.42 * len(kinds) + 1.4), layout="constrained")
    axes: Axes = figure.subplots()
    for place, (model, colour) in enumerate(zip(models, (GREY, BLUE), strict=False)):
        values = [float(row[2 + 2 * place]) for row in table.rows]
        y = [number + 0.38 * (place - 0.5) for number in range(len(kinds))]
        axes.barh(y, values, 0.36, color=colour, label=f"whisper {model}, INT8")
        for at, value in zip(y, values, strict=True):
            axes.text(value, at, f" {value:.1f}", va="center", fontsize=7.5)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.set_xlabel("word error rate, %")
    axes.set_title(f"{table.title}:\nover HTTP, and the same by faster-whisper in process", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save(figure, "word_errors")


def long_files_tables(result: Result) -> Iterator[Table]:
    """Yields memory by the file's length, and when the first words came."""
    rows = [
        (_run_name(run), f"{run['file_mb']:g}", *(f"{run['peak_mb'][role]:.0f}" for role in _ROLES))
        for run in result["runs"]
    ]
    yield Table("Memory at most (USS), MB", ("sound", "file", "server", "decoder", "model's process"), rows)
    rows = []
    for run in result["runs"]:
        share = run["first_s"] / run["took_s"]
        seconds = (
            number(run["first_s"]),
            number(run["took_s"]),
            f"{60 * run['minutes'] / run['took_s']:.1f}",
        )
        target = ("<= 5 %", verdict(share <= 0.05)) if run["minutes"] == 10 else ("", "")
        rows.append((_run_name(run), *seconds, f"{100 * share:.1f} %", *target, f"{run['others_share']:.0%}"))
    header = (
        "sound",
        "first segment, s",
        "all, s",
        "times real time",
        "first / all",
        "target",
        "",
        "others' CPU",
    )
    yield Table("When the first words came, over HTTP", header, rows)


def draw_long_files(result: Result) -> None:
    """Draws memory by the file's length, and over the time of the longest."""
    runs = [run for run in result["runs"] if run["model"] == "tiny.en" and not run["batch_size"]]
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_length, over_time = figure.subplots(1, 2)
    for role, colour in zip(_ROLES, (BLUE, GREEN, GREY), strict=True):
        label = {"model": "the model's process (whisper tiny.en, INT8)"}.get(role, role)
        style: Any = {"color": colour, "label": label}
        by_length.plot(
            [run["minutes"] for run in runs], [run["peak_mb"][role] for run in runs], "o-", **style
        )
        curves = runs[-1]["curves"]
        over_time.plot([seconds / 60 for seconds in curves["t_s"]], curves[role], **style)
    by_length.set_xscale("log")
    by_length.set_xticks([run["minutes"] for run in runs], [str(run["minutes"]) for run in runs])
    by_length.minorticks_off()
    by_length.set_xlabel("minutes of sound (log scale)")
    by_length.set_title("Most memory of its own (USS), MB", fontsize=10)
    over_time.set_xlabel("minutes since it was sent")
    over_time.set_title(f"While {runs[-1]['minutes']} minutes of sound are transcribed, MB", fontsize=10)
    for axes in (by_length, over_time):
        axes.set_ylim(0, None)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*by_length.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save(figure, "long_files")


def openai_whisper_tables(result: Result) -> Iterator[Table]:
    """Yields seconds of both and how far their texts are apart."""
    rows, texts = [], []
    for row in result["rows"]:
        name = f"{row['model']}, {row['way']}"
        seconds = (ranged(row["ours_s"]), ranged(row["theirs_s"]))
        rows.append(
            (name, *seconds, ranged(row["ratio"]), ">= 4", verdict(row["met"]), f"{row['others_share']:.0%}")
        )
        errors = (f"{100 * row['errors'][who] / result['words']:.1f} %" for who in ("ours", "theirs"))
        texts.append((name, *errors, str(row["words_apart"]), str(row["words_apart_float32"])))
    title = f"{result['seconds']:.0f} s of speech, seconds: the server with INT8, openai-whisper with float32"
    header = (
        "model and search",
        "server, s",
        "openai-whisper, s",
        "times as fast",
        "target",
        "",
        "others' CPU",
    )
    yield Table(title, header, rows)
    apart = ("words apart", "of faster-whisper in float32 and openai-whisper")
    yield Table(
        f"What they wrote, of {result['words']} words",
        ("model and search", "server: wrong", "openai-whisper: wrong", *apart),
        texts,
    )


def draw_openai_whisper(result: Result) -> None:
    """Draws seconds of both."""
    rows = result["rows"]
    figure = Figure(figsize=(9, 0.6 * len(rows) + 1.4), layout="constrained")
    axes: Axes = figure.subplots()
    for place, (who, label, colour) in enumerate(
        (
            ("ours_s", "TurboV2 over HTTP, INT8", BLUE),
            ("theirs_s", "openai-whisper in process, float32", GREY),
        )
    ):
        y = [at + 0.38 * (place - 0.5) for at in range(len(rows))]
        axes.barh(y, [row[who]["median"] for row in rows], 0.36, color=colour, label=label)
        for at, row in zip(y, rows, strict=True):
            times = f" ({row['ratio']['median']:.1f}x)" if place == 0 else ""
            axes.text(row[who]["median"], at, f" {row[who]['median']:.1f} s{times}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row['model']}, {row['way']}" for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"seconds for {result['seconds']:.0f} s of speech, 2 threads each")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save(figure, "openai_whisper")


def _run_name(run: dict[str, Any]) -> str:
    ways = f", {run['batch_size']} chunks at once" if run["batch_size"] else ""
    return f"{run['minutes']} min, {run['model']}{ways}"


def _rate_header(result: Result) -> tuple[str, ...]:
    models = _in_order(result, "model")
    return (*(f"{model}: {who}" for model in models for who in ("server", "faster-whisper")), "same segments")


def _rates(result: Result, rows: Rows, n_words: int) -> tuple[str, ...]:
    rates = [
        f"{100 * sum(row[who] for row in rows if row['model'] == model) / n_words:.1f}"
        for model in _in_order(result, "model")
        for who in ("server", "library")
    ]
    return (*rates, f"{sum(row['is_same'] for row in rows)} of {len(rows)} files")


def _in_order(result: Result, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in result["files"]))


def _clips_of(result: Result, kind: str) -> list[str]:
    return [row["clip"] for row in result["files"] if row["kind"] == kind]
