"""POST /api/documents: every way to send and to answer, and the jobs it begins."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

pytest.importorskip("onnxruntime", reason="runs a classifier: needs onnxruntime")
pytest.importorskip("onnx", reason="builds a classifier: needs onnx")
pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from PIL import Image

from tests.support.pdfs import pdf
from tests.support.server import (
    DEADLINE_S,
    INLINE,
    REAL,
    MakeServer,
    RunningServer,
    fake_model,
    metric,
    ollama_error,
    until,
)
from tests.support.tiny_classifier import SCALE, THRESHOLD, make_classifier
from turbov2.backends.classifier import SETTINGS, ClassifierSettings

PROSE = "The quick brown fox jumps over the lazy dog and then it sleeps until the evening comes"
GONE, GONE_VLM, UNBUILT_VLM = "embedder-gone", "vlm-gone", "vlm-unbuilt"
JOB_FIELDS = {
    "id", "kind", "state", "done", "total", "created_at", "started_at", "ended_at", "error", "results",
    "next",
}  # fmt: skip


def text_page(name: str, n_lines: int = 6) -> str:
    lines = "".join(f"BT /F 10 Tf 50 {700 - 14 * n} Td ({PROSE} {n}) Tj ET\n" for n in range(n_lines))
    return f"BT /F 24 Tf 50 740 Td ({name}) Tj ET {lines}"


DARK = "0 0 0 rg 0 0 612 600 re f 1 1 1 rg "  # the classifier of these tests calls dark pages HIGH
BOOK = pdf(text_page("Chapter one"), text_page("Chapter two"), DARK + text_page("A picture", 3))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("documents")
    model = make_classifier(folder / "model")
    # So that a page is HIGH from about a sixth of ink on, and text is not.
    calm = ClassifierSettings(512, 384, SCALE, -4.0, THRESHOLD, "float32", 1)
    (model / SETTINGS).write_bytes(msgspec.json.encode(calm))
    table = (
        '[models."vl-classifier"]\ncapability = "classify"\nbackend = "classifier"\nrunner = "thread"\n'
        f'[models."vl-classifier".weights]\nkind = "path"\npath = "{model}"\n'
    )
    scribe = fake_model("scribe", folder, runner="thread", capability="vision", is_writer=True)
    table += scribe.replace("dimensions = 8\n", "")
    table += "".join(
        f'[models."{name}"]\ncapability = "{capability}"\nbackend = "{backend}"\nrunner = "process"\n'
        f'[models."{name}".weights]\nkind = "path"\npath = "/nowhere"\n'
        for name, capability, backend in (
            (GONE, "embed", "fake"), (GONE_VLM, "vision", "fake"), (UNBUILT_VLM, "vision", "abacus"),
        )
    )  # fmt: skip
    with RunningServer(folder, models=table + fake_model(INLINE, folder)) as running:
        yield running


def read(server: RunningServer, file: bytes = BOOK, headers: Any = None, **fields: Any) -> httpx.Response:
    return server.http.post(
        "/api/documents", files={"file": ("book.pdf", file)}, data=fields, headers=headers, timeout=60
    )


def test_a_vlm_describes_pages_that_are_high(server: RunningServer) -> None:
    *calm, dark = pages_of(read(server, vlm="scribe", keep_alive="5m"))
    assert all(page["route"]["way"] == "text" and "vision" not in page for page in calm)
    assert dark["route"]["way"] == "text+vlm"
    assert dark["vision"].startswith("1275x1650 Write down everything")  # a letter page at 150 dpi
    assert metric(server, "turbov2_requests_ended_total", model="scribe", outcome="answered") == 1


def pages_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text[:500]
    pages: list[dict[str, Any]] = answer.json()["pages"]
    return pages


@pytest.mark.parametrize("way", ["form", "data URI", "base64", "bare file"])
def test_every_way_to_send_a_file(server: RunningServer, way: str) -> None:
    packed = base64.b64encode(BOOK).decode()
    if way == "form":
        answer = read(server)
    elif way == "bare file":
        headers = {"content-type": "application/pdf"}
        answer = server.http.post("/api/documents", content=BOOK, headers=headers)
    else:
        head = "data:application/pdf;base64," if way == "data URI" else ""
        answer = server.http.post("/api/documents", json={"file": head + packed})
    assert [page["page"] for page in pages_of(answer)] == [1, 2, 3]


def test_the_documented_shape(server: RunningServer) -> None:
    answer = read(server)
    assert set(answer.json()) == {"format", "page_count", "pages"}
    assert (answer.json()["format"], answer.json()["page_count"]) == ("PDF", 3)
    first, _, dark = pages_of(answer)
    assert set(first) == {
        "page", "done", "total", "width", "height", "unit", "route", "text", "markdown", "tables", "times_ms",
        "error",
    }  # fmt: skip
    assert (first["done"], first["total"], first["width"], first["height"], first["unit"]) == (
        1, 3, 612, 792, "pt",
    )  # fmt: skip
    assert first["text"].splitlines()[:3] == ["Chapter one", "", f"{PROSE} 0"]
    assert first["markdown"].startswith(f"# Chapter one\n\n{PROSE} 0 ")
    assert first["error"] is None
    assert set(first["times_ms"]) == {"decode", "classify", "text", "ocr", "vlm", "embed", "total"}
    assert first["times_ms"]["classify"] > 0
    assert set(first["route"]) == {"way", "reason", "text_layer", "classifier"}
    assert (first["route"]["way"], first["route"]["text_layer"]) == ("text", "sound")
    judged = first["route"]["classifier"]
    assert (judged["model"], judged["class_name"], judged["threshold"]) == ("vl-classifier", "LOW", THRESHOLD)
    assert dark["route"]["classifier"]["class_name"] == "HIGH"
    assert dark["route"]["way"] == "text"
    assert "no vlm was named" in dark["route"]["reason"]


def test_no_classifier_no_guess(server: RunningServer) -> None:
    for page in pages_of(read(server, classify="false")):
        assert page["route"]["classifier"] is None
        assert "no classifier was asked" in page["route"]["reason"]


def test_a_classifier_that_is_not_here(make_server: MakeServer) -> None:
    plain = make_server(models='[models."vl-classifier".weights]\nkind = "path"\npath = "/nowhere"\n')
    for page in pages_of(read(plain)):
        assert page["route"]["way"] == "text"
        assert page["route"]["classifier"] is None
        assert "not on this machine" in page["route"]["reason"]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"pages": "2-"}, [2, 3]),
        ({"pages": "3,1"}, [1, 3]),
        ({"max_pages": "1"}, [1]),
        ({"pages": ""}, [1, 2, 3]),
    ],
)
def test_chosen_pages(server: RunningServer, fields: dict[str, str], wanted: list[int]) -> None:
    assert [page["page"] for page in pages_of(read(server, **fields))] == wanted


def test_a_locked_file(server: RunningServer) -> None:
    locked = pdf(text_page("Secret"), password="sesame")
    assert "password" in ollama_error(read(server, locked), 400)
    assert "password" in ollama_error(read(server, locked, password="wrong"), 400)
    assert pages_of(read(server, locked, password="sesame"))[0]["text"].startswith("Secret")


@pytest.mark.parametrize(
    ("file", "fields", "status", "said"),
    [
        (b"", {}, 400, "file"),
        (BOOK[:900], {}, 400, "PDF"),
        (b"plain text, no document at all", {}, 415, ""),
        (BOOK, {"pages": "4"}, 400, "3 pages"),
        (BOOK, {"pages": "one"}, 400, "page range"),
        (BOOK, {"chunks": "7"}, 400, "chunks"),
        (BOOK, {"chunks": "-5"}, 400, "chunks"),
        (BOOK, {"outputs": "dense,loud"}, 400, "loud"),
        (BOOK, {"embed": "no-such-model"}, 404, "no-such-model"),
        (BOOK, {"embed": "rapidocr"}, 400, "does not embed"),
        (BOOK, {"ocr_model": INLINE}, 400, "does not read"),
        (BOOK, {"vlm": INLINE}, 400, "does not see"),
        (BOOK, {"vlm": "lfm25-vl", "classify": "no"}, 400, "classifier"),
        (BOOK, {"embed": INLINE, "chunks": "false"}, 400, "chunks"),
        (BOOK, {"stream": "perhaps"}, 400, "stream"),
        (BOOK, {"max_pages": "0"}, 400, "max_pages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused(
    server: RunningServer, file: bytes, fields: dict[str, str], status: int, said: str, stream: bool
) -> None:
    """A stream that cannot begin has a status of its own as well."""
    headers = {"accept": "application/x-ndjson"} if stream else None
    assert said in ollama_error(read(server, file, headers, **fields), status)


def test_no_file(server: RunningServer) -> None:
    assert "file is required" in ollama_error(server.http.post("/api/documents", json={}), 400)
    assert "URL" in ollama_error(server.http.post("/api/documents", json={"file": "https://x.y/z.pdf"}), 400)


def test_chunks_and_vectors(server: RunningServer) -> None:
    first, *_ = pages_of(read(server, chunks="200", embed=INLINE, outputs="dense,sparse"))
    assert len(first["chunks"]) > 2
    for chunk in first["chunks"]:
        assert set(chunk) == {"text", "heading", "box", "embedding", "sparse"}
        assert len(chunk["text"]) <= 200
        assert chunk["heading"] == "Chapter one"
        assert len(chunk["embedding"]) == 8
        assert set(chunk["sparse"]) == {"indices", "values"}
    alone = server.http.post("/api/embed", json={"model": INLINE, "input": first["chunks"][1]["text"]})
    assert first["chunks"][1]["embedding"] == pytest.approx(alone.json()["embeddings"][0], abs=1e-6)


def test_chunks_alone_and_by_default(server: RunningServer) -> None:
    assert "chunks" not in pages_of(read(server))[0]
    assert set(pages_of(read(server, chunks="true"))[0]["chunks"][0]) == {"text", "heading", "box"}
    assert "embedding" in pages_of(read(server, embed=INLINE))[0]["chunks"][0]


def test_json_types_of_fields(server: RunningServer) -> None:
    body = {"file": base64.b64encode(BOOK).decode(), "pages": 2, "chunks": True, "classify": False}
    body |= {"outputs": ["dense"], "embed": INLINE, "stream": False, "max_pages": 1, "keep_alive": 60}
    (page,) = pages_of(server.http.post("/api/documents", json=body))
    assert page["page"] == 2
    assert page["chunks"]


def test_an_image_needs_ocr(server: RunningServer) -> None:
    """Whether OCR runs here or not, the page says how it went."""
    file = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(file, "PNG")
    (page,) = pages_of(read(server, file.getvalue()))
    assert (page["width"], page["height"], page["unit"]) == (200, 100, "px")
    assert page["route"]["way"] == "ocr"
    assert page["route"]["text_layer"] == "none"
    assert page["error"] is None or page["error"]["code"] == "model_unavailable"


@pytest.mark.parametrize("how", ["accept", "field"])
def test_a_stream_of_lines(server: RunningServer, how: str) -> None:
    headers = {"accept": "application/x-ndjson"} if how == "accept" else None
    answer = read(server, headers=headers, **({"stream": "true"} if how == "field" else {}))
    assert answer.headers["content-type"] == "application/x-ndjson"
    *pages, last = map(json.loads, answer.text.splitlines())
    assert [(page["done"], page["total"]) for page in pages] == [(1, 3), (2, 3), (3, 3)]
    assert last == {"status": "success", "pages": 3, "page_count": 3}
    whole = pages_of(read(server))
    for page in (*pages, *whole):
        del page["times_ms"]
    assert pages == whole


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    assert "".join(f"event: {name}\ndata: {data}\n\n" for name, data in found) == text
    return [(name, json.loads(data)) for name, data in found]


def test_a_stream_of_events(server: RunningServer) -> None:
    answer = read(server, headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [name for name, _ in events_of(answer.text)] == ["page", "page", "page", "done"]


def test_stream_false_goes_before_the_header(server: RunningServer) -> None:
    answer = read(server, headers={"accept": "text/event-stream"}, stream="false")
    assert len(pages_of(answer)) == 3


def test_a_bad_page_does_not_end_the_others(server: RunningServer) -> None:
    broken = BOOK.replace(b"/Type /Page /Parent", b"/Type /Pige /Parent", 1)
    pages = pages_of(read(server, broken))
    assert [page["page"] for page in pages] == [1, 2, 3]
    assert pages[0]["error"] is None or pages[0]["error"]["code"] == "bad_media"
    assert pages[2]["error"] is None


def begin(server: RunningServer, file: bytes = BOOK, headers: Any = None, **fields: Any) -> dict[str, Any]:
    answer = read(server, file, headers, job="true", **fields)
    assert answer.status_code == 202, answer.text
    status: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{status['id']}"
    assert status["state"] == "queued"
    return status


def ended(server: RunningServer, job_id: str, headers: Any = None) -> dict[str, Any]:
    def is_ended() -> bool:
        state = server.http.get(f"/api/jobs/{job_id}", headers=headers).json()["state"]
        return state in ("done", "failed", "cancelled")

    until(is_ended, DEADLINE_S)
    status: dict[str, Any] = server.http.get(f"/api/jobs/{job_id}", headers=headers).json()
    return status


def test_a_job(server: RunningServer) -> None:
    job = ended(server, begin(server, chunks="true")["id"])
    assert set(job) == JOB_FIELDS
    assert (job["kind"], job["state"], job["done"], job["total"], job["error"]) == (
        "document", "done", 3, 3, None,
    )  # fmt: skip
    assert job["next"] is None
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    whole = pages_of(read(server, chunks="true"))
    for page in (*job["results"], *whole):
        del page["times_ms"]
    assert job["results"] == whole


def test_results_page_by_page(server: RunningServer) -> None:
    job_id = begin(server)["id"]
    ended(server, job_id)
    seen, after = [], 0
    while after is not None:
        answer = server.http.get(f"/api/jobs/{job_id}", params={"after": after, "limit": 2}).json()
        seen += [page["page"] for page in answer["results"]]
        after = answer["next"]
    assert seen == [1, 2, 3]


def test_a_job_that_fails(server: RunningServer) -> None:
    job = ended(server, begin(server, embed=REAL, outputs="sparse")["id"])
    assert (job["state"], job["done"]) == ("failed", 0)
    assert job["error"]["code"] == "invalid_request"
    assert "sparse" in job["error"]["message"]


@pytest.mark.parametrize(
    ("file", "fields", "status", "said"),
    [
        (BOOK, {"embed": "no-such-model"}, 404, "no-such-model"),
        (BOOK, {"embed": "rapidocr"}, 400, "does not embed"),
        (BOOK, {"embed": GONE}, 404, "not here"),
        (BOOK, {"pages": "2-9"}, 400, "3 pages"),
        (BOOK, {"vlm": INLINE}, 400, "does not see"),
        (BOOK[:900], {}, 400, "PDF"),
        (b"plain text, no document at all", {}, 415, ""),
        (pdf(text_page("Secret"), password="sesame"), {}, 400, "password"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused_at_once(
    server: RunningServer, file: bytes, fields: dict[str, str], status: int, said: str
) -> None:
    n_jobs = len(server.http.get("/api/jobs").json()["jobs"])
    assert said in ollama_error(read(server, file, job="true", **fields), status)
    assert len(server.http.get("/api/jobs").json()["jobs"]) == n_jobs


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}, {"job": "true"}])
def test_a_vlm_that_is_not_here_is_told_before_any_page(
    server: RunningServer, fields: dict[str, str]
) -> None:
    """Page 3 alone is HIGH; the answer does not wait for it."""
    assert "not here" in ollama_error(read(server, vlm=GONE_VLM, **fields), 404)
    assert "not built yet" in ollama_error(read(server, vlm=UNBUILT_VLM, **fields), 501)


def test_events_of_a_job(server: RunningServer) -> None:
    job_id = begin(server)["id"]
    events = events_of(server.http.get(f"/api/jobs/{job_id}/events").text)
    assert events[-1][0] == "done"
    assert events[-1][1]["done"] == 3
    assert {name for name, _ in events[:-1]} <= {"progress"}
    assert all("results" not in status for _, status in events)


def test_jobs_are_listed_newest_first(server: RunningServer) -> None:
    ids = [begin(server)["id"] for _ in range(3)]
    listed = server.http.get("/api/jobs").json()["jobs"]
    assert [job["id"] for job in listed[:3]] == ids[::-1]
    assert set(listed[0]) == JOB_FIELDS - {"results", "next"}
    assert len(server.http.get("/api/jobs?limit=2").json()["jobs"]) == 2


def test_a_removed_job_is_gone(server: RunningServer) -> None:
    job_id = begin(server)["id"]
    answer = server.http.delete(f"/api/jobs/{job_id}")
    assert answer.json() == {"id": job_id, "deleted": True}
    for path in (f"/api/jobs/{job_id}", f"/api/jobs/{job_id}/events"):
        assert job_id in ollama_error(server.http.get(path), 404)
    ollama_error(server.http.delete(f"/api/jobs/{job_id}"), 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("x", 404),
        ("x/events", 404),
        ("..%2f..", 404),
        ("x?after=-1", 400),
        ("x?limit=501", 400),
        ("x?after=a", 400),
    ],
)
def test_job_paths_that_are_wrong(server: RunningServer, path: str, status: int) -> None:
    ollama_error(server.http.get(f"/api/jobs/{path}"), status)


def test_a_key_sees_its_own_jobs(make_server: MakeServer) -> None:
    guarded = make_server(env={"EMBEDDINGS_API_KEY": "one,two"})
    one, two = {"x-api-key": "one"}, {"x-api-key": "two"}
    job_id = begin(guarded, headers=one)["id"]
    assert ended(guarded, job_id, one)["state"] == "done"
    ollama_error(guarded.http.get(f"/api/jobs/{job_id}", headers=two), 404)
    ollama_error(guarded.http.delete(f"/api/jobs/{job_id}", headers=two), 404)
    assert guarded.http.get("/api/jobs", headers=two).json() == {"jobs": []}
    ollama_error(guarded.http.get("/api/jobs"), 401)


def test_a_second_server_on_the_same_home_refuses_jobs_alone(
    server: RunningServer, make_server: MakeServer
) -> None:
    ended(server, begin(server)["id"])
    second = make_server(env={"TURBOV2_HOME": str(server.folder / "home")})
    assert "another server" in ollama_error(read(second, job="true"), 501)
    assert "another server" in ollama_error(second.http.get("/api/jobs"), 501)
    assert len(pages_of(read(second))) == 3
