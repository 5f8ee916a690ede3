"""Real pictures for drawn pages, from Debian packages of free documentation and wallpapers.

`python -m recipes.vl_classifier.drawn.library OUT` downloads the packages and sorts their pictures into one
folder a kind; nothing of them is kept here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

PACKAGES = (
    "doxygen-doc", "gimp-help-en", "gnome-user-docs", "grass-doc", "libboost1.81-doc", "mate-backgrounds",
    "opencv-doc", "python-skimage-doc", "ukui-wallpapers", "wireshark-doc",
)  # fmt: skip
# Parts of a path, the first that fits tells the kind; paths that fit none are left out.
_KINDS = (
    ("gimp/2.0/help/images/en/filters/examples", "photo"),
    ("gimp/2.0/help/images/en/toolbox/examples", "photo"), ("images/en/tutorials", "photo"),
    ("gimp/2.0/help", "screenshot"), ("wireshark", "screenshot"), ("gnome-help", "screenshot"),
    ("grass-doc/html/wxGUI", "screenshot"), ("grass-doc/html/g_gui", "screenshot"),
    ("grass-doc/html", "map"), ("skimage-doc/html/_images", "chart"), ("opencv4/html", "diagram"),
    ("opencv-doc/examples", "photo"), ("doxygen/html", "diagram"), ("libboost", "diagram"),
    ("backgrounds", "photo"), ("wallpapers", "photo"),
)  # fmt: skip
# Photographs of text are text, and thumbnails show nothing.
_NOT_PICTURES = ("text", "thumb", "notes", "ocr", "alphamat")
_LEAST_SIDE_PX = 150
# Spread of grey levels under which a picture is all but blank.
_LEAST_SPREAD = 18
_MOST_SIDE_PX = 800


def _download(folder: Path) -> None:
    for package in PACKAGES:
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
    for deb in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)


def _pictures(folder: Path) -> Iterable[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {".png", ".jpg", ".jpeg"} and path.is_file() and path.stat().st_size > 4000:
            kind = next((kind for part, kind in _KINDS if part in str(path)), None)
            if kind is not None and not any(word in str(path).lower() for word in _NOT_PICTURES):
                yield kind, path


def sort_pictures(folder: Path, out: Path) -> None:
    """Copy pictures of a fit size into one folder a kind, made smaller where they are large."""
    for number, (kind, path) in enumerate(_pictures(folder)):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if (
            image is None
            or image.dtype != np.uint8
            or min(image.shape[:2]) < _LEAST_SIDE_PX
            or image.std() < _LEAST_SPREAD
        ):
            continue
        shrink = min(1.0, _MOST_SIDE_PX / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        (out / kind).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(out / kind / f"{number:05d}-{path.stem[:40]}.png"), image)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        _download(Path(place))
        sort_pictures(Path(place), Path(sys.argv[1]))
