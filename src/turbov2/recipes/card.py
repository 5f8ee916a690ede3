"""What lies beside a distilled model: its card, and a report with one picture if it was compared."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

import numpy as np

from turbov2.recipes.compare import Comparison, Side
from turbov2.recipes.distill import Distilled
from turbov2.recipes.picture import make_figure, plot_quality

PLOT = "report.png"
_PLOT_POINTS = 20_000


def write_card(folder: Path, made: Distilled, compared: Comparison | None) -> None:
    """Afterwards README.md is in the folder; report.md and, with matplotlib, a plot if it was compared."""
    measured = "" if compared is None else f"\n{_figures(compared)}\nMore: [report.md](report.md).\n"
    (folder / "README.md").write_text(_card(made) + measured, "utf-8")
    if compared is None:
        return
    has_plot = importlib.util.find_spec("matplotlib") is not None
    if has_plot:
        _plot(folder / PLOT, made, compared)
    (folder / "report.md").write_text(_report(made, compared, has_plot), "utf-8")


def _card(made: Distilled) -> str:
    recipe = made.recipe
    return f"""\
---
library_name: model2vec
base_model: {made.teacher}
tags: [embeddings, static-embeddings, sentence-transformers]
---

# {made.name}

A static embedding model, distilled from `{made.teacher}`: one vector of {made.dimensions} dimensions for
each of {made.n_tokens:,} tokens, averaged over a text. It is blind to word order and context. The teacher's
licence applies.

Loads in TurboV2 (backend `static`), Model2Vec (`StaticModel.from_pretrained`) and Sentence Transformers.

| Setting | Value |
|---|---|
| dimensions | {made.dimensions} of {made.teacher_dimensions} |
| variance kept | {made.variance_kept:.1%} |
| pooling over a token's template | {recipe.pooling} |
| SIF coefficient | {f"{recipe.sif:g}" if recipe.sif else "none"} |
| dtype | {recipe.dtype}, {made.size_bytes / 1e6:.1f} MB |
| words added | {len(recipe.words)} |
"""


def _figures(compared: Comparison) -> str:
    """Returns the comparison as a table."""
    teacher, student = compared.teacher, compared.student
    lines = [
        f"Measured on {compared.n_queries:,} queries over {compared.n_documents:,} documents; in brackets "
        "the 95 % interval by bootstrap over queries.",
        "",
        "| | teacher | this model | difference |",
        "|---|---|---|---|",
    ]
    for metric, change in compared.difference.items():
        lines.append(f"| {metric} | {teacher.quality[metric]} | {student.quality[metric]} | {change} |")
    faster, smaller = student.texts_per_s / teacher.texts_per_s, teacher.size_bytes / student.size_bytes
    lines += [
        f"| texts/s | {_rate(teacher)} | {_rate(student)} | {faster:,.0f} times as many |",
        f"| weights, MB | {_size(teacher)} | {_size(student)} | {smaller:.1f} times smaller |",
    ]
    return "\n".join(lines) + "\n"


def _rate(side: Side) -> str:
    return f"{side.texts_per_s:,.0f}"


def _size(side: Side) -> str:
    return f"{side.size_bytes / 1e6:.1f}"


def _report(made: Distilled, compared: Comparison, has_plot: bool) -> str:
    return f"""\
# {made.name} beside {made.teacher}

{_figures(compared)}
Similarity: Spearman's rank correlation between the two models' cosines is {compared.spearman:.3f}, over all
{compared.n_queries * compared.n_documents:,} pairs of query and document.

Speed counts the documents, in batches of 64, in one process: first the teacher in float32 on the CPU, then
this model at its second pass. The machine: {os.cpu_count()} cores, {platform.machine()}, Python
{platform.python_version()}.

{f"![Cosines and quality]({PLOT})" if has_plot else "A plot needs matplotlib: pip install matplotlib."}
"""


def _plot(path: Path, made: Distilled, compared: Comparison) -> None:
    """Afterwards the picture is there: cosines against each other, and quality side by side."""
    figure = make_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    n = compared.cosines.shape[1]
    shown = np.random.default_rng(0).choice(n, min(n, _PLOT_POINTS), replace=False)
    left.scatter(*compared.cosines[:, shown], s=2, alpha=0.25, color="#1f6feb", linewidths=0)
    left.set_xlabel(f"cosine by {made.teacher}")
    left.set_ylabel(f"cosine by {made.name}")
    left.set_title(f"Pairs of query and document: Spearman {compared.spearman:.3f}", fontsize=9)
    sides = {made.teacher: compared.teacher.quality, made.name: compared.student.quality}
    title = f"{compared.n_queries:,} queries, {compared.n_documents:,} documents; lines: 95 % interval"
    plot_quality(right, sides, title)
    figure.savefig(path, dpi=110)
