"""Typefaces: which Debian packages to unpack, and which families suit which part of a page.

`python -m recipes.vl_classifier.drawn.fonts OUT` downloads and unpacks them; nothing of them is kept here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import skia

from recipes.vl_classifier.drawn.shaping import know_file

PACKAGES = (
    "fonts-adf-accanthis", "fonts-adf-gillius", "fonts-anonymous-pro", "fonts-arphic-uming", "fonts-breip",
    "fonts-cabin", "fonts-cantarell", "fonts-cmu", "fonts-comic-neue", "fonts-courier-prime",
    "fonts-croscore", "fonts-crosextra-caladea", "fonts-crosextra-carlito", "fonts-dancingscript",
    "fonts-dejavu-core", "fonts-dejavu-extra", "fonts-droid-fallback", "fonts-ebgaramond", "fonts-fanwood",
    "fonts-firacode", "fonts-freefont-otf", "fonts-gfs-didot", "fonts-gnutypewriter",
    "fonts-goudybookletter", "fonts-hack-ttf", "fonts-hosny-amiri", "fonts-humor-sans", "fonts-inconsolata",
    "fonts-inter", "fonts-ipafont-mincho", "fonts-junicode", "fonts-kristi", "fonts-lato",
    "fonts-liberation2", "fonts-linuxlibertine", "fonts-lmodern", "fonts-lohit-deva", "fonts-nanum",
    "fonts-noto-core", "fonts-ocr-a", "fonts-ocr-b", "fonts-oldstandard", "fonts-open-sans",
    "fonts-paratype", "fonts-prociono", "fonts-quattrocento", "fonts-roboto-slab", "fonts-roboto-unhinted",
    "fonts-sil-gentium", "fonts-stix", "fonts-takao-mincho", "fonts-texgyre", "fonts-thai-tlwg-ttf",
    "fonts-tuffy", "fonts-urw-base35", "fonts-vlgothic", "fonts-vollkorn", "fonts-wqy-microhei",
)  # fmt: skip

SERIF = (
    "CMU Serif", "Latin Modern Roman", "TeX Gyre Termes", "TeX Gyre Pagella", "TeX Gyre Bonum",
    "TeX Gyre Schola", "Liberation Serif", "Nimbus Roman", "P052", "C059", "URW Bookman",
    "Linux Libertine O", "EB Garamond", "DejaVu Serif", "Caladea", "Junicode", "Old Standard TT", "Gentium",
    "Vollkorn", "PT Serif", "FreeSerif", "Noto Serif", "Goudy Bookletter 1911", "Fanwood", "Prociono",
    "Quattrocento", "Roboto Slab", "Tinos", "Accanthis ADF Std", "GFS Didot",
)  # fmt: skip
SANS = (
    "Liberation Sans", "Nimbus Sans", "TeX Gyre Heros", "DejaVu Sans", "Carlito", "Open Sans", "Roboto",
    "Lato", "CMU Sans Serif", "Latin Modern Sans", "Linux Biolinum O", "Cantarell", "Cabin", "PT Sans",
    "FreeSans", "Noto Sans", "Inter", "Arimo", "Gillius ADF", "URW Gothic", "TeX Gyre Adventor", "Tuffy",
    "Liberation Sans Narrow",
)  # fmt: skip
MONO = (
    "DejaVu Sans Mono", "Liberation Mono", "CMU Typewriter Text", "Latin Modern Mono", "Nimbus Mono PS",
    "TeX Gyre Cursor", "Inconsolata", "Hack", "Fira Code", "Anonymous Pro", "FreeMono", "Cousine",
)  # fmt: skip
TYPEWRITER = ("GNUTypewriter", "Courier Prime", "Nimbus Mono PS", "OCRA", "OCR B", "CMU Typewriter Text")
HAND = ("Comic Neue", "Dancing Script", "Kristi", "Breip")
# Families that carry a script at all, as not every family above has its letters.
OF_SCRIPT = {
    "japanese": ("VL Gothic", "VL PGothic", "IPAMincho", "IPAPMincho", "TakaoMincho", "TakaoPMincho"),
    "chinese": ("WenQuanYi Micro Hei", "AR PL UMing CN", "AR PL UMing TW", "Droid Sans Fallback"),
    "korean": ("NanumGothic", "NanumMyeongjo", "NanumBarunGothic", "WenQuanYi Micro Hei"),
    "arabic": ("Amiri", "DejaVu Sans", "Noto Sans Arabic", "Noto Naskh Arabic"),
    "hebrew": ("DejaVu Sans", "FreeSerif", "Liberation Serif", "Liberation Sans", "Noto Sans Hebrew"),
    "devanagari": ("Lohit Devanagari", "Noto Sans Devanagari", "FreeSerif"),
    "thai": ("Garuda", "Norasi", "Loma", "Kinnari", "Noto Sans Thai"),
}


def download(folder: Path) -> None:
    """Fetch the packages with apt and unpack them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", "-q", package], cwd=place, check=True)
        for deb in sorted(Path(place).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)


@dataclass
class Family:
    """Cuts of one typeface by (bold, italic)."""

    cuts: dict[tuple[bool, bool], skia.Typeface] = field(default_factory=dict)
    _covered: dict[str, bool] = field(default_factory=dict)

    def cut(self, bold: bool, italic: bool) -> skia.Typeface:
        """The cut asked for, or the nearest there is."""
        for key in ((bold, italic), (bold, False), (False, italic), (False, False)):
            if key in self.cuts:
                return self.cuts[key]
        return next(iter(self.cuts.values()))

    def covers(self, letters: str) -> bool:
        """Whether every cut has nearly all of these letters."""
        if letters not in self._covered:
            least = min(
                sum(map(bool, map(cut.unicharToGlyph, map(ord, letters)))) for cut in self.cuts.values()
            )
            self._covered[letters] = least >= 0.99 * len(letters)
        return self._covered[letters]


def _is_wanted(path: Path) -> bool:
    odd = (
        "Condensed",
        "Light",
        "Black",
        "Thin",
        "Medium",
        "Semi",
        "Extra",
        "lmdemi",
        "lmssdemi",
        "Display",
        "Initials",
    )
    return path.suffix.lower() in {".ttf", ".otf", ".ttc", ".t1"} and not any(
        word in path.name for word in odd
    )


@lru_cache(maxsize=1)
def families(folder: Path) -> dict[str, Family]:
    """Families found under a folder, by name."""
    found: dict[str, Family] = defaultdict(Family)
    wanted = {
        *SERIF,
        *SANS,
        *MONO,
        *TYPEWRITER,
        *HAND,
        *(name for names in OF_SCRIPT.values() for name in names),
    }
    for path in sorted(filter(_is_wanted, folder.rglob("*"))):
        typeface = skia.Typeface.MakeFromFile(str(path))
        if typeface is None or (name := _family_name(typeface)) not in wanted:
            continue
        know_file(typeface, str(path))
        style = typeface.fontStyle()
        key = (style.weight() >= 600, style.slant() != skia.FontStyle.Slant.kUpright_Slant)
        if 280 <= style.weight() <= 720:
            found[name].cuts.setdefault(key, typeface)
    return dict(found)


def _family_name(typeface: skia.Typeface) -> str:
    name = typeface.getFamilyName()
    # Latin Modern names every optical size as a family of its own.
    for size in (" 10", "10", " 12"):
        if name.startswith("LM") and name.endswith(size):
            name = name.removesuffix(size)
    return {
        "LMRoman": "Latin Modern Roman",
        "LMSans": "Latin Modern Sans",
        "LMMono": "Latin Modern Mono",
    }.get(name, name)


if __name__ == "__main__":
    download(Path(sys.argv[1]))
