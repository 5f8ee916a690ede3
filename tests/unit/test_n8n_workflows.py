"""The workflows of deploy/n8n hold together; tests/clients/test_n8n.py runs them where there is an n8n."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from turbov2.settings import load_settings

FOLDER = Path(__file__).parents[2] / "deploy" / "n8n"
FILES = sorted(FOLDER.glob("*.json"))
_NAMED = re.compile(r"\$\('([^']+)'\)")


def workflow_of(file: Path) -> dict[str, Any]:
    workflow: dict[str, Any] = json.loads(file.read_text())
    return workflow


def test_there_are_workflows_and_the_readme_names_each() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert len(FILES) == 3
    for file in FILES:
        assert f"]({file.name})" in readme
        assert f"/webhook/{workflow_of(file)['id']}`" in readme


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestWorkflow:
    def test_every_name_is_a_nodes(self, file: Path) -> None:
        workflow = workflow_of(file)
        names = [node["name"] for node in workflow["nodes"]]
        assert len(set(names)) == len(names)
        assert set(workflow["connections"]) <= set(names)
        for outputs in workflow["connections"].values():
            assert {to["node"] for output in outputs["main"] for to in output} <= set(names)
        assert set(_NAMED.findall(json.dumps(workflow["nodes"]))) <= set(names)

    def test_the_servers_address_stands_in_one_place(self, file: Path) -> None:
        text = file.read_text()
        assert text.count("http://") == 1
        assert f'"value": "http://127.0.0.1:{load_settings({}).port}"' in text

    def test_no_failure_gets_lost(self, file: Path) -> None:
        asks = [node for node in workflow_of(file)["nodes"] if node["type"] == "n8n-nodes-base.httpRequest"]
        assert asks
        for node in asks:
            options = node["parameters"]["options"]
            assert options["response"]["response"] == {"fullResponse": True, "neverError": True}
            assert options["timeout"] >= 90_000
            assert node["onError"] == "continueRegularOutput"

    def test_nothing_of_an_instance_is_in_it(self, file: Path) -> None:
        workflow = workflow_of(file)
        assert set(workflow) == {"id", "name", "nodes", "connections", "settings", "active", "pinData"}
        assert (workflow["active"], workflow["pinData"]) == (False, {})
        assert workflow["id"] == f"turbov2-{file.stem}"
        assert not any("credentials" in node for node in workflow["nodes"])
