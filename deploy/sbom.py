"""Writes what the images hold and under which licences: a bill of materials for each, and docs/licences.md.

`python -m deploy.sbom` reads the locks, the catalogue and requirements/licences.json alone.
`python -m deploy.sbom --look-up` first asks the package index for the licences of what the locks name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import turbov2
from turbov2.catalog import Catalog, ModelSpec, PackageWeights
from turbov2.catalog.weights import source_text

ROOT = Path(__file__).parents[1]
LICENCES = ROOT / "requirements" / "licences.json"
PAGE = ROOT / "docs" / "licences.md"
IMAGES = {"cpu": "serve", "cuda": "cuda"}  # image → its lock
_DISTRIBUTION = "deposium-embeddings-turbov2"
# The images' own; packages for other systems are in the locks, and not in the images.
_HERE = {
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "python_version": "3.13",
    "python_full_version": "3.13.0",
}
# What packages say in words, in SPDX's. Those that say BSD have its three clauses in their files.
_SPDX = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "OSI Approved :: MIT License": "MIT",
    "BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "OSI Approved :: BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "BSD-3-Clause, Apache-2.0, dependency licenses": "BSD-3-Clause OR Apache-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Other/Proprietary License": "LicenseRef-NVIDIA-Proprietary",
}
# What wheels carry beside what their own licence covers, where it asks more of whoever passes it on.
_BLAS = "OpenBLAS, libgfortran (GPL-3.0 with GCC's exception)"
BUNDLED = {
    "av": "FFmpeg with libx264 and libx265 (LGPL-3.0-or-later and GPL-2.0-or-later), LAME, GnuTLS, GMP",
    "opencv-python-headless": f"FFmpeg (LGPL-2.1-or-later), OpenSSL, {_BLAS}",
    "numpy": _BLAS,
    "scipy": _BLAS,
    "shapely": "GEOS (LGPL-2.1-or-later)",
    "pypdfium2": "PDFium and its libraries (BSD, Apache-2.0 and the like)",
}
_PAGE = """\
# Licences

<!-- Written by `make docs` from the locks and the catalogue: change it there. -->

TurboV2 itself is under the [MIT licence](../LICENSE). This page lists what its images hold beside it, and
the models of the catalogue. The same for machines, as CycloneDX: [cpu](sbom/cpu.cdx.json),
[cuda](sbom/cuda.cdx.json). It is no legal advice: read the licences themselves before you pass an image on.

## Packages

{cpu} in the CPU image and {cuda} in the one for CUDA, in the versions of requirements/.
Licences are what each package says of itself, in SPDX's words.

| Package | Version | Licence | Images | Its wheel also carries |
| --- | --- | --- | --- | --- |
{packages}

The base image adds Python (PSF-2.0) and Debian's packages, whose licences lie in `/usr/share/doc` there;
the target `bitnet` adds bitnet.cpp and llama.cpp (MIT). Packages of NVIDIA's are under its own terms (CUDA
Toolkit EULA and the like): they may be passed on with an application, under conditions.

## Models

Weights come with the install only where the second column says so; all others are pulled by you, from their
makers.

| Model | In the image | Licence | To be accepted before a pull | Source |
| --- | --- | --- | --- | --- |
{models}
"""


class Package(NamedTuple):
    """One package in an image."""

    name: str
    version: str
    licence: str  # SPDX expression


def pinned(lock: str, where: dict[str, str] = _HERE) -> dict[str, str]:
    """Returns name → version of what the lock puts into an image, or with no `where` onto this machine."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    wanted = (Requirement(line) for line in re.findall(r"^(\S+==[^\\\n]+?) \\$", text, re.MULTILINE))
    here = (one for one in wanted if one.marker is None or one.marker.evaluate(where))
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}


def packages(image: str) -> list[Package]:
    """Returns the image's packages by name. Raises: KeyError for one whose licence is not known."""
    licences = json.loads(LICENCES.read_text("utf-8"))
    return [Package(name, version, licences[name]) for name, version in sorted(pinned(IMAGES[image]).items())]


def bill(image: str) -> dict[str, Any]:
    """Returns the image's bill of materials, as CycloneDX 1.6 writes it."""
    server = _component("application", Package(_DISTRIBUTION, turbov2.__version__, "MIT"))
    models = [spec for spec in Catalog.load(None, {}) if is_inside(spec)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": server},
        "components": [_component("library", package) for package in packages(image)]
        + [_model_component(spec) for spec in models],
    }


def is_inside(spec: ModelSpec) -> bool:
    """Returns whether a model's weights come with the install, in a package."""
    return isinstance(spec.weights, PackageWeights) and spec.weights.installed


def _component(kind: str, package: Package) -> dict[str, Any]:
    found = {
        "type": kind,
        "bom-ref": f"pkg:pypi/{package.name}@{package.version}",
        "name": package.name,
        "version": package.version,
        "licenses": [{"expression": package.licence}],
        "purl": f"pkg:pypi/{package.name}@{package.version}",
    }
    if package.name in BUNDLED:
        found["description"] = f"Its wheel carries {BUNDLED[package.name]}."
    return found


def _model_component(spec: ModelSpec) -> dict[str, Any]:
    assert isinstance(spec.weights, PackageWeights)
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{spec.name}",
        "name": spec.name,
        "version": spec.weights.version,
        "licenses": [{"license": {"id": spec.licence}}],
    }


def page() -> str:
    """Returns docs/licences.md."""
    found = {image: packages(image) for image in IMAGES}
    rows = sorted({package for held in found.values() for package in held})
    packages_table = "\n".join(_package_row(package, found) for package in rows)
    models_table = "\n".join(map(_model_row, Catalog.load(None, {})))
    counts = {image: len(held) for image, held in found.items()}
    return _PAGE.format(packages=packages_table, models=models_table, **counts)


def _package_row(package: Package, found: dict[str, list[Package]]) -> str:
    images = ", ".join(image for image, held in found.items() if package in held)
    bundled = BUNDLED.get(package.name, "")
    return f"| {package.name} | {package.version} | {package.licence} | {images} | {bundled} |"


def _model_row(spec: ModelSpec) -> str:
    inside, restricted = ("yes" if answer else "" for answer in (is_inside(spec), spec.restricted))
    source = source_text(spec).removesuffix(":")
    return f"| `{spec.name}` | {inside} | {spec.licence} | {restricted} | `{source}` |"


def files() -> dict[Path, str]:
    """Returns every file that this writes, with its text."""
    bills = {ROOT / "docs" / "sbom" / f"{image}.cdx.json": bill(image) for image in IMAGES}
    return {path: json.dumps(found, indent=1) + "\n" for path, found in bills.items()} | {PAGE: page()}


def look_up() -> None:
    """Afterwards requirements/licences.json has all that the locks name. Raises: KeyError for new words."""
    wanted = {pin for lock in IMAGES.values() for pin in pinned(lock, {}).items()}
    found = {canonicalize_name(one["name"]): _licence(one) for one in _asked(wanted)}
    LICENCES.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", "utf-8")


def _asked(wanted: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Returns the metadata of packages as pip tells it; none is installed, and few are fetched."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        versions = [f"{name}=={version}" for name, version in wanted]
        subprocess.run([*pip, "--only-binary", ":all:", "--report", str(report), *versions], check=True)
        return [one["metadata"] for one in json.loads(report.read_text("utf-8"))["install"]]


def _licence(metadata: dict[str, Any]) -> str:
    if metadata.get("license_expression"):
        return str(metadata["license_expression"])
    kinds = [one.partition(" :: ")[2] for one in metadata.get("classifier", ()) if one.startswith("License")]
    said = [str(metadata.get("license", "")).splitlines()[0:1], kinds]
    for words in (word for group in said for word in group):
        if words in _SPDX or re.fullmatch(r"[A-Za-z]+-[\w.-]+|MIT|[\w.-]+ AND [\w.-]+", words):
            return _SPDX.get(words, words)
    if metadata["name"].startswith(("cuda-", "nvidia-")):
        return _SPDX["Other/Proprietary License"]
    raise KeyError(f"{metadata['name']}: {said}")


def main(arguments: Sequence[str]) -> None:
    """Afterwards all files are written."""
    if list(arguments) == ["--look-up"]:
        look_up()
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
