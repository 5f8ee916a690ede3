"""The page for those who move here promises nothing that does not exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.migration.original import Part, Row, rows
from turbov2.catalog import Catalog
from turbov2.engine import LocalEngine
from turbov2.obs.meters import Meters
from turbov2.server.app import _routes, make_jobs
from turbov2.server.metrics import MetricsPage
from turbov2.settings import SETTINGS, load_settings

TESTS = Path(__file__).parents[1]


def of(part: Part) -> list[Row]:
    return [row for row in rows() if row.part == part]


@cache
def names_in(file: str) -> frozenset[str]:
    """Returns a file's tests, as pytest names them."""
    found = set()
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return frozenset(found)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.theirs)
def test_each_row_has_its_proof(row: Row) -> None:
    file, _, name = row.test.partition("::")
    assert name in names_in(file)
    assert row.here or row.verdict == "same"


def test_each_endpoint_is_one() -> None:
    settings = load_settings(environment={})
    engine = LocalEngine(Catalog.load(None, {}), settings)
    routes = _routes(engine, settings, MetricsPage(Meters(), engine), make_jobs(engine, settings))
    served = {(method, route.path) for route in routes for method in route.methods}
    for row in of("Endpoints"):
        method, path = row.theirs.replace(",", " ").split()[:2]
        assert (method, path) in served


def test_each_variable_is_a_setting() -> None:
    catalog = Catalog.load(None, {})
    known = {setting.variable for setting in SETTINGS}
    known |= {getattr(spec.weights, "repo_variable", "") for spec in catalog}
    assert {row.theirs for row in of("Variables")} <= known


def test_each_model_is_in_the_catalogue_by_its_name() -> None:
    catalog = Catalog.load(None, {})
    for row in of("Models"):
        assert catalog.resolve(row.theirs).name == row.theirs
