"""GET /console: what is served, with which headers, to whom, and not at all when it is off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.server import MakeServer, RunningServer, ollama_error, send_raw
from turbov2.server.console import page

ASSETS = sorted(path.name for path in page._FOLDER.iterdir() if path.name != "index.html")
KEY = "the-only-key"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"EMBEDDINGS_API_KEY": KEY, "TURBOV2_PRELOAD": "none"}
    with RunningServer(tmp_path_factory.mktemp("locked"), env=env) as running:
        yield running


def directives(policy: str) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in policy.split("; "))


@pytest.mark.parametrize("path", ["/console", *(f"/console/{name}" for name in ASSETS)])
def test_every_file_comes_with_headers_that_bind_the_browser(locked: RunningServer, path: str) -> None:
    answer = locked.http.get(path)
    assert answer.status_code == 200
    assert answer.content
    policy = directives(answer.headers["content-security-policy"])
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not re.search(r"unsafe|https?:|\*|data:", answer.headers["content-security-policy"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/console", "text/html; charset=utf-8"),
        ("/console/app.js", "text/javascript; charset=utf-8"),
        ("/console/style.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ],
)
def test_media_types(server: RunningServer, path: str, media_type: str) -> None:
    assert server.http.get(path).headers["content-type"] == media_type
    assert server.http.head(path).headers["content-type"] == media_type


def test_the_page_links_to_files_that_are_there_and_to_no_other_host(server: RunningServer) -> None:
    text = server.http.get("/console").text
    linked = re.findall(r'(?:href|src)="(?!#)([^"]+)"', text)
    assert {"console/app.js", "console/style.css"} <= set(linked)
    assert all(server.http.get(f"/{path}").status_code == 200 for path in linked)
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?! type=\"module\" src=)", text)


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".js")])
def test_scripts_import_only_what_is_served_and_make_no_markup_of_text(name: str) -> None:
    source = (page._FOLDER / name).read_text("utf-8")
    assert {path.removeprefix("./") for path in re.findall(r'from "([^"]+)"', source)} <= set(ASSETS)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source
    )
    assert set(re.findall(r"https?://[^\"]+", source)) <= {"http://www.w3.org/2000/svg"}


def test_the_page_needs_no_key_and_holds_none(locked: RunningServer) -> None:
    for path in ("/console", *(f"/console/{name}" for name in ASSETS)):
        assert KEY not in locked.http.get(path).text
    for path in ("/api/status", "/metrics", "/api/jobs"):  # what it shows
        assert "missing API key" in ollama_error(locked.http.get(path), 401)


@pytest.mark.parametrize(
    "path", ["/console/nope.js", "/console/index.html", "/console/page.py", "/console/../../page.py",
             "/console/..%2fapi/status", "/console/../api/status", "/console//app.js"]
)  # fmt: skip
def test_nothing_else_lies_below_it(locked: RunningServer, path: str) -> None:
    answer = send_raw(locked, f"GET {path} HTTP/1.1\r\nhost: x".encode())
    assert "the console has no file" in ollama_error(answer, 404)


def test_a_slash_at_the_end_leads_to_the_page_behind_a_proxys_prefix_too(server: RunningServer) -> None:
    answer = server.http.get("/console/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../console")


def test_a_host_that_is_not_ours_gets_no_page(server: RunningServer) -> None:
    answer = server.http.get("/console", headers={"host": "evil.example.com"})
    assert "not allowed" in ollama_error(answer, 403)


def test_it_can_be_closed_and_switched_off(make_server: MakeServer) -> None:
    env = {"EMBEDDINGS_API_KEY": KEY, "TURBOV2_PRELOAD": "none"}
    closed = make_server(env=env | {"TURBOV2_OPEN_PATHS": "/readyz"})
    ollama_error(closed.http.get("/console"), 401)
    assert closed.http.get("/console", headers={"X-API-Key": KEY}).status_code == 200
    off = make_server(env=env | {"TURBOV2_CONSOLE": "off"})
    assert {off.http.get(path).status_code for path in ("/console", "/console/app.js")} == {404}
