"""What a browser may do: origins (CORS) and host names (DNS rebinding)."""

from __future__ import annotations

import httpx
import pytest

from tests.support.server import MakeServer, RunningServer, ollama_error, openai_error

ASKED = "authorization,content-type,x-api-key,x-requested-with,openai-beta,x-stainless-lang"
LOCAL = [
    "http://localhost:3000",
    "http://127.0.0.1:8080",
    "https://localhost:5173",
    "http://localhost",
    "https://127.0.0.1",
]
FOREIGN = [
    "http://evil.example",
    "http://localhost.evil.example:80",
    "http://127.0.0.1.evil.example",
    "null",
    "file://",
]


def preflight(server: RunningServer, origin: str, method: str = "POST") -> httpx.Response:
    wanted = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ASKED}
    return server.http.options("/api/embed", headers={"Origin": origin, **wanted})


@pytest.mark.parametrize("origin", LOCAL)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_preflight_of_a_local_page(server: RunningServer, origin: str, method: str) -> None:
    response = preflight(server, origin, method)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert method in response.headers["access-control-allow-methods"]
    allowed = {name.strip() for name in response.headers["access-control-allow-headers"].lower().split(",")}
    assert set(ASKED.split(",")) <= allowed


@pytest.mark.parametrize("origin", FOREIGN)
def test_preflight_of_a_foreign_page(server: RunningServer, origin: str) -> None:
    response = preflight(server, origin)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(("origins", "is_allowed"), [(LOCAL, True), (FOREIGN, False)])
@pytest.mark.parametrize("path", ["/api/tags", "/v1/models", "/api/nope", "/health"])
def test_answers_carry_the_origin_only_if_allowed(
    server: RunningServer, origins: list[str], is_allowed: bool, path: str
) -> None:
    for origin in origins:
        headers = server.http.get(path, headers={"Origin": origin}).headers
        assert headers.get("access-control-allow-origin") == (origin if is_allowed else None)
        assert not is_allowed or "x-request-id" in headers["access-control-expose-headers"]


def test_origins_are_a_setting_and_a_preflight_needs_no_key(make_server: MakeServer) -> None:
    origins = "https://app.example,https://*.ours.example"
    server = make_server(env={"CORS_ALLOWED_ORIGINS": origins, "EMBEDDINGS_API_KEY": "k"})
    expected = {
        "https://app.example": 200,
        "https://a.ours.example": 200,
        "http://app.example": 400,
        "http://localhost:3000": 400,
        "https://a.ours.example.evil.example": 400,
    }
    assert {origin: preflight(server, origin).status_code for origin in expected} == expected
    refused = server.http.get("/api/tags", headers={"Origin": "https://app.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"  # so the page can read why


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:11435", "[::1]:11435", "::1", "192.168.1.7:11435"),
        *("localhost", "LOCALHOST:80", "localhost.", "x.localhost:1"),
        *("turbov2", "turbov2:11435", "host.docker.internal", "box.local"),  # container and local names
    ],
)
def test_hosts_of_this_machine_are_ours(server: RunningServer, host: str) -> None:
    assert server.http.get("/api/version", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:11435",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example.",
    ],
)
def test_foreign_hosts_are_refused_on_loopback(server: RunningServer, host: str) -> None:
    error = ollama_error(server.http.get("/api/tags", headers={"Host": host}), 403)
    assert "TURBOV2_ALLOWED_HOSTS" in error
    openai = openai_error(server.http.get("/v1/models", headers={"Host": host}), 403)
    assert openai["type"] == "permission_error"
    assert "host" in ollama_error(server.http.get("/metrics", headers={"Host": host}), 403)


def test_elsewhere_every_host_is_ours(make_server: MakeServer) -> None:
    server = make_server(host="0.0.0.0")
    assert server.http.get("/api/version", headers={"Host": "models.example"}).status_code == 200
    assert "EMBEDDINGS_API_KEY" in server.log()  # open to the network: it is said


def test_hosts_are_a_setting(make_server: MakeServer) -> None:
    server = make_server(host="0.0.0.0", env={"TURBOV2_ALLOWED_HOSTS": "models.example"})
    expected = {"models.example": 200, "MODELS.example:443": 200, "other.example": 403, "127.0.0.1": 200}
    found = {host: server.http.get("/api/version", headers={"Host": host}).status_code for host in expected}
    assert found == expected
