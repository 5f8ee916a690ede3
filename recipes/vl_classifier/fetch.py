"""Fetch the PDFs of Debian's documentation packages: `python -m recipes.vl_classifier.fetch OUT`. Uses apt.

Afterwards OUT holds one folder for each source and in it `HASH-NAME.pdf`. Only the list in `packages.tsv` is
ours: the documents stay with their authors and are not kept in this repository.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from rich.progress import track

from recipes.vl_classifier.packages import KEPT_SOURCES, Package, read_packages

_LEAST_BYTES, _MOST_BYTES = 2_000, 40_000_000  # a PDF smaller is an icon, one larger a book of scans
# Where a package gathers the documents of many authors, each folder below is a source of its own.
_GATHERED = PurePosixPath("usr/share/doc/texlive-doc")


def download(package: Package, folder: Path) -> Path:
    """Download one package into a folder. Raises ValueError if it is not the one listed."""
    name = f"{package.name}={package.version}"
    subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True, capture_output=True)
    file = next(folder.glob(f"{package.name}_*.deb"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ValueError(f"{name} has sha256 {digest}, not {package.sha256}")
    return file


def documents(file: Path, source: str) -> Iterator[tuple[str, str, bytes]]:
    """Each PDF of a .deb file: its source, its name and its bytes."""
    command = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE)
    with command, tarfile.open(fileobj=command.stdout, mode="r|") as archive:
        for member in archive:
            path = PurePosixPath(member.name.removeprefix("./"))
            if not member.isfile() or not path.name.lower().endswith((".pdf", ".pdf.gz")):
                continue
            content = archive.extractfile(member).read()  # type: ignore[union-attr]
            content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
            is_document = b"%PDF" in content[:1024] and _LEAST_BYTES < len(content) < _MOST_BYTES
            name = _source(path, source)
            if is_document and name.split("--")[-1] not in KEPT_SOURCES:
                yield name, path.name.lower().removesuffix(".gz"), content


def _source(path: PurePosixPath, package_source: str) -> str:
    if not path.is_relative_to(_GATHERED):
        return package_source
    below = path.relative_to(_GATHERED).parts
    return f"{package_source}--{below[1]}" if len(below) > 2 else package_source


def fetch(packages: Sequence[Package], out: Path) -> int:
    """Fetch all packages. Returns how many different PDFs there are."""
    seen: set[str] = set()
    for package in track(packages, description="Packages"):
        with tempfile.TemporaryDirectory() as folder:
            for source, name, content in documents(download(package, Path(folder)), package.source):
                digest = hashlib.sha256(content).hexdigest()[:12]
                if digest in seen:
                    continue
                seen.add(digest)
                (out / source).mkdir(parents=True, exist_ok=True)
                (out / source / f"{digest}-{name}").write_bytes(content)
    return len(seen)


def main() -> None:
    """Fetch every package of the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    n_documents = fetch(read_packages(), parser.parse_args().out)
    print(f"{n_documents} documents")  # noqa: T201


if __name__ == "__main__":
    main()
