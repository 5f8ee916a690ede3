"""The Debian packages whose PDFs give real pages: `packages.tsv` beside this file, one a line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("packages.tsv")
# Source packages kept for acceptance: nothing built from them is trained on or looked at.
# fmt: off
KEPT_SOURCES = (
    "abinit", "asymptote", "cfitsio", "cups-filters", "dblatex", "debian-edu-doc", "debian-faq",
    "debian-policy", "debian-reference", "debmake-doc", "effects", "evolver", "feynmf", "freefem", "gap",
    "geomview", "ghostscript", "glpk", "gnuplot", "gpsbabel", "gputils", "graphviz", "gretl", "gri",
    "groff", "gutenprint", "hmmer", "infernal", "installation-guide", "krb5", "lme4", "maxima", "netgen",
    "ngspice", "octave", "pari", "phyml", "r-base", "r-cran-coin", "r-cran-gstat", "r-cran-party",
    "r-cran-pscl", "r-cran-quantreg", "r-cran-sp", "r-cran-vcd", "r-cran-vegan", "r-zoo", "rasmol",
    "sandwich", "scotch", "sdcc", "smlnj", "strucchange", "survival", "texlive-base", "texlive-lang",
    "therion", "toulbar2", "verilator", "xfig", "xmds2", "xorg-docs",
)
# fmt: on


class Package(NamedTuple):
    """One binary package of Debian 12."""

    name: str
    version: str
    source: str
    """Source package: its pages stand on one side of the split."""
    sha256: str
    """Of the .deb file."""


def read_packages(table: Path = TABLE) -> list[Package]:
    """All packages. Raises ValueError if one is kept for acceptance."""
    with table.open(newline="") as lines:
        packages = [Package(*row) for row in csv.reader(lines, delimiter="\t")]
    kept = sorted({package.source for package in packages} & set(KEPT_SOURCES))
    if kept:
        raise ValueError(f"kept for acceptance: {', '.join(kept)}")
    return packages
