"""Which settings distil best: `python -m bench.distill_settings SETS --teacher FOLDER`.

SETS is what `bench.retrieval_sets` wrote. The Debian sets are for choosing, the Python ones for confirming.
Writes `bench/results/distill.json` and `.png` and prints the table. Needs the extra `sentence`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from bench import machine
from bench.picture import save
from bench.retrieval_quality import pool
from bench.retrieval_sets import SOURCES
from turbov2.recipes.compare import static_encoder
from turbov2.recipes.folder import write_model
from turbov2.recipes.metrics import DEPTH, Values, estimate, rank, score_rankings
from turbov2.recipes.picture import make_figure
from turbov2.recipes.reduce import TableDtype, principal_components, to_dtype, zipf_weights
from turbov2.recipes.retrieval import RetrievalSet, read_set
from turbov2.recipes.teacher import Pooling, Teacher
from turbov2.recipes.vocabulary import build_vocabulary

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
DIMENSIONS = (64, 128, 256, 384)
COEFFICIENTS = (0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
USUAL = ("mean", 256, 1e-4, "float16")  # Model2Vec's
Setting = tuple[Pooling, int, float, TableDtype]


def settings() -> Iterator[Setting]:
    """Yields one thing changed at a time, for mean and first; last, which is poor, at one place."""
    for pooling in POOLINGS:
        yield from ((pooling, n, 1e-4, "float16") for n in DIMENSIONS)
    for pooling in POOLINGS[:2]:
        yield from ((pooling, 256, sif, "float16") for sif in COEFFICIENTS if sif != 1e-4)
        yield pooling, 256, 1e-4, "int8"


def measure(teacher: Teacher, sets: dict[str, RetrievalSet]) -> dict[Setting, dict[str, dict[str, Values]]]:
    """Returns setting → set → metric → value of every query."""
    vocabulary = build_vocabulary(teacher.tokenizer, teacher.padding)
    vectors = {each: teacher.embed_tokens(vocabulary.inputs, each, lambda *_: None) for each in POOLINGS}
    found: dict[Setting, dict[str, dict[str, Values]]] = {}
    for pooling, n_dimensions, sif, dtype in settings():
        table, _ = principal_components(vectors[pooling], n_dimensions)
        table *= zipf_weights(len(table), sif)[:, None]
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder), to_dtype(table, dtype), vocabulary.tokenizer, {})
            encode = static_encoder(Path(folder))
            found[pooling, n_dimensions, sif, dtype] = {
                name: score_rankings(
                    rank(encode(data.queries) @ encode(data.documents).T, DEPTH), data.positives
                )
                for name, data in sets.items()
            }
    return found


def rows(found: dict[Setting, dict[str, dict[str, Values]]]) -> list[dict[str, Any]]:
    """Returns nDCG@10 of every setting: chosen on, confirmed on, and minus the usual one's there."""
    lines = []
    for setting, by_set in found.items():
        line: dict[str, Any] = dict(zip(("pooling", "dimensions", "sif", "dtype"), setting, strict=True))
        for group in ("debian", "python"):
            names = [name for name in by_set if (name.startswith("python")) == (group == "python")]
            values = pool({name: by_set[name] for name in names})["nDCG@10"]
            usual = pool({name: found[USUAL][name] for name in names})["nDCG@10"]
            line |= {group: estimate(values), f"{group}_difference": estimate(values - usual)}
        lines.append(line)
    return lines


def draw(lines: list[dict[str, Any]]) -> None:
    """Afterwards the picture shows quality by dimensions, and by SIF coefficient."""
    figure = make_figure(10, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, by, rest in ((left, "dimensions", ("sif", 1e-4)), (right, "sif", ("dimensions", 256))):
        for pooling, colour in zip(POOLINGS, ("#1f6feb", "#2da44e", "#8b949e"), strict=True):
            shown = [
                x
                for x in lines
                if x["pooling"] == pooling and x[rest[0]] == rest[1] and x["dtype"] == "float16"
            ]
            shown.sort(key=lambda line: line[by])
            if len(shown) < 2:
                continue
            xs = [line[by] for line in shown]
            axes.plot(
                xs,
                [line["debian"].mean for line in shown],
                "o-",
                color=colour,
                label=f"{pooling}, Debian sets",
            )
            axes.plot(
                xs,
                [line["python"].mean for line in shown],
                "o--",
                color=colour,
                label=f"{pooling}, Python sets",
            )
        axes.grid(alpha=0.25)
    left.set_xlabel("dimensions, SIF coefficient 1e-4")
    left.set_ylabel("nDCG@10")
    left.legend(frameon=False, fontsize=8)
    right.set_xscale("symlog", linthresh=1e-5)
    right.set_xlabel("SIF coefficient, 256 dimensions")
    save(figure, "distill")


def main() -> None:
    """Measures, stores, draws and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.distill_settings", description=__doc__)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    given = parser.parse_args()
    sets = {name: read_set(given.sets / f"{name}.jsonl") for name in SOURCES}
    lines = rows(measure(Teacher(given.teacher), sets))
    result = {"section": "distill", "machine": machine.facts(), "settings": lines}
    (machine.RESULTS / "distill.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"
    )
    draw(lines)
    for line in lines:
        told = " | ".join(str(value) for value in line.values())
        print(f"| {told} |")


if __name__ == "__main__":
    main()
