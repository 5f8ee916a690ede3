"""What the images hold is written down with its licence, and the files say what the locks say."""

from __future__ import annotations

import json
import re

import pytest

from deploy import sbom
from tests.support.deployment import ROOT
from turbov2.catalog import Catalog


@pytest.mark.parametrize("path", sbom.files(), ids=lambda path: path.name)
def test_the_files_are_current(path):
    assert path.read_text("utf-8") == sbom.files()[path], "run `make docs`"


@pytest.mark.parametrize("image", sbom.IMAGES)
def test_every_package_of_the_lock_has_a_licence(image):
    packages = sbom.packages(image)
    assert len(packages) > 60
    assert all(re.fullmatch(r"[\w.()+ -]+", package.licence) for package in packages)


def test_nothing_for_other_systems_is_in_an_image():
    names = {package.name for package in sbom.packages("cuda")}
    assert "colorama" not in names  # of Windows
    assert {"torch", "triton", "uvloop"} <= names
    assert "torch" not in {package.name for package in sbom.packages("cpu")}


def test_one_version_of_each_package_is_in_an_image():
    text = (ROOT / "requirements" / "cuda.txt").read_text("utf-8")
    assert len(re.findall(r"^numpy==", text, re.MULTILINE)) == 2  # one for each Python that it is locked for
    assert sbom.pinned("cuda")["numpy"] in re.findall(r"^numpy==(\S+)", text, re.MULTILINE)


def test_what_a_wheel_carries_is_said_of_packages_that_are_there():
    assert set(sbom.BUNDLED) <= {package.name for package in sbom.packages("cpu")}


@pytest.mark.parametrize("image", sbom.IMAGES)
def test_a_bill_names_the_weights_that_come_along(image):
    components = sbom.bill(image)["components"]
    assert len({component["bom-ref"] for component in components}) == len(components)
    models = {one["name"] for one in components if one["type"] == "machine-learning-model"}
    assert models == {spec.name for spec in Catalog.load(None, {}) if sbom.is_inside(spec)}
    assert "wordllama-256d" in models


@pytest.mark.parametrize("image", sbom.IMAGES)
def test_a_bill_is_what_cyclonedx_asks_for(image):
    strict = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib[validation]")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = strict.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(sbom.bill(image))) is None
