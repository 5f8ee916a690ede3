"""Workflows for a real n8n: those of deploy/n8n, and the tests' own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SHIPPED = Path(__file__).parents[2] / "deploy" / "n8n"
_LANGCHAIN = "@n8n/n8n-nodes-langchain"
Node = dict[str, Any]
Workflow = dict[str, Any]


def shipped(name: str, base_url: str, path: str = "", **config: str) -> Workflow:
    """Returns a workflow of deploy/n8n, its Config node changed as its README says.

    path: of another webhook than its own, so that n8n can run it twice.
    """
    workflow: Workflow = json.loads((_SHIPPED / f"{name}.json").read_text())
    nodes = {node["name"]: node["parameters"] for node in workflow["nodes"]}
    values = {"base_url": base_url, **config}
    for field in nodes["Config"]["assignments"]["assignments"]:
        field["value"] = values.pop(field["name"], field["value"])
    assert not values, f"Config has no {', '.join(values)}"
    if path:
        nodes["Webhook"]["path"] = workflow["id"] = path
    return workflow


def node(name: str, type: str, version: float, parameters: dict[str, Any], **more: Any) -> Node:
    """Returns a node; type: of n8n-nodes-base unless it names its package."""
    kind = type if "." in type else f"n8n-nodes-base.{type}"
    common = {"id": name, "name": name, "type": kind, "typeVersion": version, "position": [0, 0]}
    return {**common, "parameters": parameters, **more}


def webhook(path: str, **options: Any) -> Node:
    """Returns the node that a workflow begins with; it answers what the last node gives."""
    parameters = {"httpMethod": "POST", "path": path, "responseMode": "lastNode", "options": options}
    return node("Webhook", "webhook", 2, parameters, webhookId=path)


def http_request(name: str, url: str, body: dict[str, Any], options: dict[str, Any], **more: Any) -> Node:
    """Returns the node that sends a POST."""
    parameters = {"method": "POST", "url": url, "sendBody": True, **body, "options": options}
    return node(name, "httpRequest", 4.2, parameters, **more)


def chain(id: str, nodes: Sequence[Node], sub_nodes: Sequence[Node] = (), **links: Any) -> Workflow:
    """Returns a workflow whose nodes run one after another.

    links: of sub-nodes by their names: (kind, names of those that they serve).
    """
    names = [node["name"] for node in nodes]
    connections = {source: _link("main", target) for source, target in zip(names, names[1:], strict=False)}
    connections |= {source: _link(kind, *targets) for source, (kind, *targets) in links.items()}
    return {
        "id": id,
        "name": id,
        "nodes": [*nodes, *sub_nodes],
        "connections": connections,
        "settings": {"executionOrder": "v1"},
        "active": False,
    }


def vector_store(path: str, model: str, credential: str) -> Workflow:
    """Returns one that puts texts into n8n's own vector store and takes out the nearest to a query.

    The vectors come from its node for Ollama's embeddings.
    """
    common = {"memoryKey": {"mode": "id", "value": path, "__rl": True}}
    insert = {"mode": "insert", **common, "clearStore": True}
    load = {"mode": "load", **common, "prompt": "={{ $('Webhook').first().json.body.query }}", "topK": 1}
    loader = {"jsonMode": "expressionData", "jsonData": "={{ $json['body.texts'] }}", "options": {}}
    credentials = {"ollamaApi": {"id": credential, "name": credential}}
    nodes = [
        webhook(path),
        node("Split", "splitOut", 1, {"fieldToSplitOut": "body.texts", "options": {}}),
        node("Insert", f"{_LANGCHAIN}.vectorStoreInMemory", 1.3, insert),
        node("Load", f"{_LANGCHAIN}.vectorStoreInMemory", 1.3, load, executeOnce=True),
    ]
    sub_nodes = [
        node("Embed", f"{_LANGCHAIN}.embeddingsOllama", 1, {"model": model}, credentials=credentials),
        node("Documents", f"{_LANGCHAIN}.documentDefaultDataLoader", 1.1, loader),
    ]
    links = {"Embed": ("ai_embedding", "Insert", "Load"), "Documents": ("ai_document", "Insert")}
    return chain(path, nodes, sub_nodes, **links)


def _link(kind: str, *targets: str) -> dict[str, Any]:
    return {kind: [[{"node": target, "type": kind, "index": 0} for target in targets]]}
