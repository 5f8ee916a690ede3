"""GET /v1/models and /v1/models/{id}: one body for OpenAI's and Anthropic's clients."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.server import FAKE, REAL, RunningServer, assert_clean, openai_error


def listed(server: RunningServer, **query: Any) -> dict[str, Any]:
    response = server.http.get("/v1/models", params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


def ids_of(page: dict[str, Any]) -> list[str]:
    return [model["id"] for model in page["data"]]


def test_the_list_is_whole(server: RunningServer) -> None:
    page = listed(server)
    ids = ids_of(page)
    assert (page["object"], page["has_more"]) == ("list", False)
    assert (page["first_id"], page["last_id"]) == (ids[0], ids[-1])
    assert {REAL, FAKE, "bge-m3-onnx", "mxbai-rerank-v2"} <= set(ids)
    assert len(ids) == len(set(ids))
    for model in page["data"]:
        assert (model["object"], model["type"], model["lifecycle"]) == ("model", "model", "active")
        assert type(model["created"]) is int
        assert dt.datetime.fromisoformat(model["created_at"]).timestamp() == pytest.approx(
            model["created"], abs=1
        )
        assert model["owned_by"]
        assert model["display_name"]


def test_it_tells_no_folder(server: RunningServer) -> None:
    assert_clean(server.http.get("/v1/models"))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/models?beta=true", f"/v1/models/{REAL}/"])
def test_slash_and_query_change_nothing(server: RunningServer, path: str) -> None:
    response = server.http.get(path, follow_redirects=False)
    assert response.status_code == 200
    assert (REAL in ids_of(response.json())) if "data" in response.json() else response.json()["id"] == REAL


def test_each_is_found_alone(server: RunningServer) -> None:
    for model in listed(server)["data"]:
        assert server.http.get(f"/v1/models/{model['id']}").json() == model


@pytest.mark.parametrize("name", [f"{REAL}:latest", "WORDLLAMA", "wordllama:latest"])
def test_other_spellings_are_found(server: RunningServer, name: str) -> None:
    assert server.http.get(f"/v1/models/{name}").json()["id"] == REAL


@pytest.mark.parametrize(
    "name", ["mixedbread-ai/mxbai-embed-2d-large-v1", "mixedbread-ai%2Fmxbai-embed-2d-large-v1"]
)
def test_a_name_may_hold_a_slash(server: RunningServer, name: str) -> None:
    assert server.http.get(f"/v1/models/{name}").json()["id"] == "mxbai-embed-2d"


@pytest.mark.parametrize("name", ["nope", "nope:latest", "a/b/c", "%F0%9F%98%80", "%ED%A0%BD"])
def test_unknown(server: RunningServer, name: str) -> None:
    error = openai_error(server.http.get(f"/v1/models/{name}"), 404)
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "model_not_found",
        "model",
    )


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_visit_every_model_once(server: RunningServer, limit: int) -> None:
    everything, seen = ids_of(listed(server)), []
    page = listed(server, limit=limit)
    for _ in everything:
        seen += ids_of(page)
        if not page["has_more"]:
            break
        assert len(page["data"]) == limit
        page = listed(server, limit=limit, after_id=page["last_id"])
    assert seen == everything


def test_the_page_before_a_model_ends_at_it(server: RunningServer) -> None:
    everything = ids_of(listed(server))
    assert ids_of(listed(server, before_id=everything[3])) == everything[:3]


def test_after_the_last_comes_nothing(server: RunningServer) -> None:
    page = listed(server, after_id=ids_of(listed(server))[-1], limit=5)
    assert (page["data"], page["has_more"], page["first_id"], page["last_id"]) == ([], False, None, None)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "1.5", "²"])
def test_limit_refused(server: RunningServer, limit: str) -> None:
    assert openai_error(server.http.get("/v1/models", params={"limit": limit}), 400)["param"] == "limit"
