"""`python -m recipes.vl_classifier.evaluate MODEL PAGES OUT PREPARED ...`: real pages never trained on.

Each test page goes the way of a request: a file, decoded by the server's own code, to the server's backend;
once as it is and once with each named degradation. Writes `metrics.json` and `reliability.png`, and prints
the tables of the card.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track

from recipes.vl_classifier.baseline import Baseline, measure
from recipes.vl_classifier.batches import Prepared
from recipes.vl_classifier.degrade import NAMED, named
from recipes.vl_classifier.figures import (
    Share,
    area_under_curve,
    calibration_error,
    recalls,
    reliability,
    share,
)
from recipes.vl_classifier.records import Page, read_pages
from turbov2.backends.classifier import GRAPH, SETTINGS, ClassifierBackend
from turbov2.engine.pictures import view_for
from turbov2.media.images import ImageFileReader
from turbov2.media.limits import MediaLimits
from turbov2.types import ClassifyTask, Complexity, LoadSpec

CLEAN = "as it is"
_BASELINE_THRESHOLD = 0.5
_MAX_BASELINE_PAGES = 6_000


def classifier(folder: Path) -> Callable[[bytes, str], tuple[float, NDArray[np.uint8]]]:
    """Returns a function that gives a file's probability of HIGH, and the canvas that was looked at."""
    files = {name: str(folder / name) for name in (GRAPH, SETTINGS)}
    backend = ClassifierBackend(LoadSpec("vl-classifier", "classifier", files, "1"))
    need = backend.loaded.image
    assert need is not None

    def classify(payload: bytes, kind: str) -> tuple[float, NDArray[np.uint8]]:
        reader = ImageFileReader(memoryview(payload), kind, MediaLimits())
        canvas = reader.image(0, view_for(need)).pixels
        seen = backend.look(canvas, ClassifyTask())
        assert isinstance(seen, Complexity)
        return seen.p_high, canvas

    return classify


def files_of(path: Path, seed: int) -> Iterator[tuple[str, bytes, str]]:
    """Yields (degradation, file, format): the page as it is and with each named degradation."""
    yield CLEAN, path.read_bytes(), "JPEG" if path.suffix == ".jpg" else "PNG"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    for name in NAMED:
        worn, _ = named(image, name, seed)
        suffix = ".png" if name == "one-bit" else ".jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 30 if name == "jpeg-30" else 90] if suffix == ".jpg" else []
        yield name, cv2.imencode(suffix, worn, quality)[1].tobytes(), "PNG" if suffix == ".png" else "JPEG"


def fit_baseline(prepared: Prepared) -> Baseline:
    """Returns the hand-made features' regression, fitted to training pages."""
    places = np.concatenate([prepared.places("train", is_wide=wide) for wide in (False, True)])
    real = [int(n) for n in places if prepared.rows[int(n)].is_real]
    chosen = real[:: max(len(real) // _MAX_BASELINE_PAGES, 1)]
    features = np.stack([measure(prepared.page(n)) for n in track(chosen, "fitting the baseline")])
    return Baseline(features, np.array([prepared.rows[n].is_high for n in chosen]))


def summarise(p_high: NDArray[np.float64], is_high: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Returns recalls, area under the curve and calibration error."""
    return {
        "recall": recalls(p_high, is_high, threshold),
        "auroc": area_under_curve(p_high, is_high),
        "calibration_error": calibration_error(p_high, is_high),
    }


def by_kind(pages: list[Page], p_high: NDArray[np.float64], threshold: float) -> dict[str, Share]:
    """Returns by most prominent kind how many pages were called as they are."""
    found: dict[str, list[bool]] = {}
    for page, p in zip(pages, p_high, strict=True):
        found.setdefault(f"{page.label} {page.kinds[0]}", []).append(
            (p >= threshold) == (page.label == "HIGH")
        )
    return {kind: share(int(sum(hits)), len(hits)) for kind, hits in sorted(found.items())}


def draw(path: Path, p_high: NDArray[np.float64], is_high: NDArray[np.bool_], threshold: float) -> None:
    """Draws how often pages of each probability are HIGH, and how many there are."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = reliability(p_high, is_high)
    left.plot([0, 1], [0, 1], color="#d0d7de", lw=1)
    left.scatter(
        [r[0] for r in rows], [r[1] for r in rows], s=[12 + 3 * np.sqrt(r[2]) for r in rows], color="#0969da"
    )
    left.set_xlabel("probability of HIGH")
    left.set_ylabel("share that is HIGH")
    left.set_title(f"Reliability, {len(p_high):,} pages; dot area: pages", fontsize=10)
    edges = np.linspace(0, 1, 21)
    right.hist(
        [p_high[~is_high], p_high[is_high]], bins=edges, color=["#8c959f", "#0969da"], label=["LOW", "HIGH"]
    )
    right.axvline(threshold, color="#cf222e", lw=1, label=f"threshold {threshold:g}")
    right.set_yscale("log")
    right.set_xlabel("probability of HIGH")
    right.set_ylabel("pages")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures and stores."""
    parser = argparse.ArgumentParser(prog="python -m recipes.vl_classifier.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("prepared", type=Path, nargs="+")
    given = parser.parse_args()
    threshold = msgspec.json.decode((given.model / SETTINGS).read_bytes())["threshold"]
    pages = [page for page in read_pages(given.pages) if page.split == "test" and page.label != "UNSURE"]
    classify, baseline = classifier(given.model), fit_baseline(Prepared(given.prepared))
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for seed, page in enumerate(track(pages, "classifying")):
        for name, payload, kind in files_of(given.pages / page.image, seed):
            p, canvas = classify(payload, kind)
            ours.setdefault(name, []).append(p)
            theirs.setdefault(name, []).append(float(baseline.p_high(measure(canvas)[None])[0]))
    is_high = np.array([page.label == "HIGH" for page in pages])
    found = {name: np.array(values) for name, values in ours.items()}
    result = {
        "pages": len(pages),
        "sources": len({page.source for page in pages}),
        "threshold": threshold,
        "classifier": {name: summarise(p, is_high, threshold) for name, p in found.items()},
        "baseline": {n: summarise(np.array(p), is_high, _BASELINE_THRESHOLD) for n, p in theirs.items()},
        "by_kind": by_kind(pages, found[CLEAN], threshold),
        "wrong": [
            {"image": page.image, "label": page.label, "kinds": page.kinds, "p_high": round(float(p), 3)}
            for page, p in zip(pages, found[CLEAN], strict=True)
            if (p >= threshold) != (page.label == "HIGH")
        ],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "metrics.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"
    )
    draw(given.out / "reliability.png", found[CLEAN], is_high, threshold)
    print(tables(result))


def tables(result: dict[str, Any]) -> str:
    """Returns the card's tables as Markdown."""
    lines = [
        "| Pages | HIGH recall | LOW recall | ECE | AUROC | baseline HIGH | baseline LOW |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in result["classifier"].items():
        other = result["baseline"][name]["recall"]
        lines.append(
            f"| {name} | {each['recall']['HIGH']} | {each['recall']['LOW']} | "
            f"{each['calibration_error']:.1%} | {each['auroc']:.4f} | "
            f"{other['HIGH'].value:.1%} | {other['LOW'].value:.1%} |"
        )
    lines += ["", "| Kind | called as it is |", "|---|---|"]
    lines += [f"| {kind} | {found} |" for kind, found in result["by_kind"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
