"""`python -m recipes.vl_classifier.card METRICS`: writes what `evaluate` measured into `docs/classifier.md`.

Also prints the catalogue's lines for the shipped files, which the server checks by hash before it loads them.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
CARD = ROOT / "docs" / "classifier.md"
SHIPPED = ROOT / "src" / "turbov2" / "models" / "vl_classifier"
_FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def _share(found: dict[str, Any]) -> str:
    value = found["hits"] / found["n"] if found["n"] else 0.0
    return f"{value:.1%} ({found['low']:.1%}-{found['high']:.1%})"


def figures(result: dict[str, Any]) -> str:
    """Returns the card's tables as Markdown."""
    clean = result["classifier"]["as it is"]["recall"]
    lines = [
        f"{result['pages']} pages of {result['sources']} sources, {clean['HIGH']['n']} HIGH and "
        f"{clean['LOW']['n']} LOW; threshold {result['threshold']:g}. In brackets Wilson's 95 % interval. "
        "ECE: expected calibration error.",
        "",
        "| Pages | HIGH recall | LOW recall | ECE | AUROC | baseline: HIGH recall | LOW recall | AUROC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in result["classifier"].items():
        other, recall = result["baseline"][name], each["recall"]
        lines.append(
            f"| {name} | {_share(recall['HIGH'])} | {_share(recall['LOW'])} | "
            f"{each['calibration_error']:.1%} | {each['auroc']:.4f} | "
            f"{_value(other['recall']['HIGH'])} | {_value(other['recall']['LOW'])} | {other['auroc']:.3f} |"
        )
    lines += ["", "| Most prominent kind | pages | called as they are |", "|---|---|---|"]
    lines += [f"| {kind} | {found['n']} | {_share(found)} |" for kind, found in result["by_kind"].items()]
    return "\n".join(lines) + "\n\n"


def _value(found: dict[str, Any]) -> str:
    return f"{found['hits'] / found['n']:.1%}"


def catalogue_lines() -> str:
    """Returns the members of the catalogue's entry."""
    lines = []
    for path in sorted(SHIPPED.glob("*.*")):
        data = path.read_bytes()
        place = path.relative_to(ROOT / "src").as_posix()
        digest = hashlib.sha256(data).hexdigest()
        lines.append(
            f'  {{ path = "{place}", name = "{path.name}", bytes = {len(data)}, sha256 = "{digest}" }},'
        )
    return "\n".join(lines)


def main() -> None:
    """Rewrites the card's figures."""
    parser = argparse.ArgumentParser(prog="python -m recipes.vl_classifier.card", description=__doc__)
    parser.add_argument("metrics", type=Path)
    given = parser.parse_args()
    result = msgspec.json.decode(given.metrics.read_bytes())
    text = CARD.read_text("utf-8")
    CARD.write_text(_FIGURES.sub(lambda found: found[1] + figures(result) + found[2], text), "utf-8")
    print(catalogue_lines())


if __name__ == "__main__":
    main()
