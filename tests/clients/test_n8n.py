"""A real n8n runs the workflows of deploy/n8n, and sends what n8n_requests says that it sends.

Set TURBOV2_N8N to the executable of n8n 2, as installed by npm: node_modules/.bin/n8n.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("rapidocr", reason="reads pages: needs the extra ocr")
pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")
pytest.importorskip("transformers", reason="writes a small vision-language model: needs transformers")

from tests.support import n8n_requests
from tests.support.n8n import RunningN8n
from tests.support.n8n_requests import Target
from tests.support.n8n_ways import FILE_NAME, UNPACK, WAYS, page
from tests.support.n8n_workflows import Node, chain, http_request, shipped, vector_store, webhook
from tests.support.pdfs import pdf
from tests.support.pictures import packed
from tests.support.printed import HEADING, LEFT_COLUMN, chart_page, text_page
from tests.support.recorder import Recorder, Sent
from tests.support.server import REAL, Embed, RunningServer, fake_model, leases, until
from tests.support.tiny_vision import save_vision_model

N8N = os.environ.get("TURBOV2_N8N", "")
pytestmark = [
    pytest.mark.skipif(not N8N, reason="needs n8n: set TURBOV2_N8N to its executable"),
    pytest.mark.timeout(600),  # the first start of n8n writes its tables
]

EYES, SLOW = "lfm25-vl", "slow-eyes"
NOWHERE = "http://127.0.0.1:9"  # discard, where nobody listens
LINE = "BT /F 10 Tf 50 {top} Td ({text}) Tj ET\n"
PROSE = "The quick brown fox jumps over the lazy dog and then it sleeps until the evening comes"
BOOK = pdf(
    *(
        f"BT /F 24 Tf 50 740 Td (Chapter {number}) Tj ET "
        + "".join(LINE.format(top=700 - 14 * at, text=PROSE) for at in range(6))
        for number in ("one", "two")
    )
)
DOCUMENTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."]
OWNER = {"email": "o@example.com", "firstName": "O", "lastName": "O", "password": "Long-enough-1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The shipped classifier and reader, and random weights in place of the vision-language model's."""
    folder = tmp_path_factory.mktemp("server")
    eyes = save_vision_model("lfm2_vl", folder / "eyes")
    writer: dict[str, Any] = {"capability": "vision", "is_writer": True, "runner": "process"}
    models = [
        f'[models."{EYES}"]\ncapability = "vision"\nbackend = "vlm"\nrunner = "process"\n'
        f'weights = {{ kind = "path", path = "{eyes}" }}\n',
        fake_model(SLOW, folder, delay_s_per_token=0.2, **writer).replace("dimensions = 8\n", ""),
    ]
    with RunningServer(folder, models="\n".join(models)) as running:
        yield running


@pytest.fixture(scope="module")
def recorder(server: RunningServer) -> Iterator[Recorder]:
    with Recorder(server.port) as recording:
        yield recording


@pytest.fixture(scope="module")
def n8n(
    server: RunningServer, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningN8n]:
    ways = [way.node(name, recorder.base_url) for name, way in WAYS.items()]
    workflows = [
        shipped("document-routing", server.base_url),
        shipped("document-read", server.base_url),
        shipped("rag", server.base_url),
        shipped("document-routing", server.base_url, path="no-eyes", vlm="absent-eyes"),
        shipped("document-read", server.base_url, path="with-eyes", vlm=EYES),
        shipped("rag", NOWHERE, path="no-server"),
        chain("ways", [webhook("ways"), UNPACK, *ways]),
        chain("in-memory", [webhook("in-memory", rawBody=True), ways[0]]),
        chain("impatient", [webhook("impatient"), impatient(server)]),
        vector_store("vector-store", REAL, "ollama"),
    ]
    credentials = [
        {"id": "ollama", "name": "ollama", "type": "ollamaApi", "data": {"baseUrl": server.base_url}}
    ]
    folder = tmp_path_factory.mktemp("n8n")
    with RunningN8n(N8N, folder, workflows, credentials) as running:
        yield running


def impatient(server: RunningServer) -> Node:
    """Returns a node that waits for 3 s where 100 s are needed."""
    image = base64.b64encode(packed(text_page(), "PNG")).decode()
    body = {"specifyBody": "json", "jsonBody": {"image": image, "model": SLOW, "prompt": "word " * 500}}
    url = f"{server.base_url}/api/vision"
    return http_request("Ask", url, body, {"timeout": 3000}, onError="continueRegularOutput")


@pytest.fixture(scope="module")
def low() -> bytes:
    return packed(text_page(), "PNG")


@pytest.fixture(scope="module")
def high() -> bytes:
    return packed(chart_page(), "PNG")


def told(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text[:1000]
    return answer.json()


class TestDocumentRouting:
    def test_a_page_of_text_is_read(self, n8n: RunningN8n, low: bytes) -> None:
        body = told(n8n.post("turbov2-document-routing", files={"file": (FILE_NAME, low, "image/png")}))
        assert (body["class_name"], body["model"]) == ("LOW", "rapidocr")
        assert body["confidence"] > 0.5
        assert body["text"].startswith(HEADING)
        assert LEFT_COLUMN[1] in body["text"]

    def test_a_page_with_a_chart_is_looked_at(self, n8n: RunningN8n, high: bytes) -> None:
        body = told(n8n.post("turbov2-document-routing", files={"upload": ("chart.png", high, "image/png")}))
        assert (body["class_name"], body["model"]) == ("HIGH", EYES)
        assert body["text"]

    def test_a_file_may_be_the_whole_body(self, n8n: RunningN8n, low: bytes) -> None:
        answer = n8n.post("turbov2-document-routing", content=low, headers={"content-type": "image/png"})
        assert told(answer)["class_name"] == "LOW"

    def test_without_the_vision_model_the_answer_says_so(self, n8n: RunningN8n, high: bytes) -> None:
        answer = n8n.post("no-eyes", files={"file": ("chart.png", high, "image/png")})
        assert "absent-eyes" in told(answer, 404)["error"]

    def test_what_is_no_page_is_refused_in_the_servers_words(self, n8n: RunningN8n) -> None:
        answer = n8n.post("turbov2-document-routing", files={"file": ("a.txt", b"hello", "text/plain")})
        assert told(answer, 415)["error"].startswith("plain text is not read here; send PNG")


class TestDocumentRead:
    def test_a_pdf(self, n8n: RunningN8n) -> None:
        files = {"file": ("book.pdf", BOOK, "application/pdf")}
        body = told(n8n.post("turbov2-document-read", files=files))
        assert (body["format"], body["page_count"]) == ("PDF", 2)
        assert [page["text"].partition("\n")[0] for page in body["pages"]] == ["Chapter one", "Chapter two"]
        assert {page["route"]["way"] for page in body["pages"]} == {"text"}

    def test_some_pages(self, n8n: RunningN8n) -> None:
        files = {"file": ("book.pdf", BOOK, "application/pdf")}
        body = told(n8n.post("turbov2-document-read", files=files, data={"pages": "2"}))
        assert [page["page"] for page in body["pages"]] == [2]

    def test_a_page_that_is_a_picture(self, n8n: RunningN8n, high: bytes) -> None:
        body = told(n8n.post("turbov2-document-read", files={"file": ("chart.png", high, "image/png")}))
        route = body["pages"][0]["route"]
        assert (route["way"], route["classifier"]["class_name"]) == ("ocr", "HIGH")
        assert HEADING in body["pages"][0]["text"]

    def test_a_picture_is_looked_at_if_config_names_a_model(self, n8n: RunningN8n, high: bytes) -> None:
        body = told(n8n.post("with-eyes", files={"file": ("chart.png", high, "image/png")}))
        assert body["pages"][0]["route"]["way"] == "vlm"


@pytest.mark.parametrize("path", ["turbov2-document-routing", "turbov2-document-read"])
@pytest.mark.parametrize("request_", [{}, {"json": {"file": "page.png"}}])
def test_no_file(n8n: RunningN8n, path: str, request_: dict[str, Any]) -> None:
    assert told(n8n.post(path, **request_), 400)["error"].startswith("no file came: send one as multipart")


@pytest.mark.parametrize("path", ["turbov2-document-routing", "turbov2-document-read"])
def test_an_empty_file(n8n: RunningN8n, path: str) -> None:
    """n8n 2.8 drops it, so the workflow says that none came; n8n 2.41 sends it, and the server refuses."""
    error = told(n8n.post(path, files={"file": ("a.png", b"")}), 400)["error"]
    assert error.startswith("no file came") or error.endswith("is empty: 0 bytes came")


class TestRag:
    def test_the_text_that_answers_comes_first(self, n8n: RunningN8n) -> None:
        body = told(n8n.post("turbov2-rag", json={"query": "When is the museum open?"}))
        assert len(body["results"]) == 2
        assert body["results"][0]["document"].startswith("The museum opens at nine")
        assert body["results"][0]["relevance_score"] > body["results"][1]["relevance_score"]

    def test_without_a_query(self, n8n: RunningN8n) -> None:
        assert "query is required" in told(n8n.post("turbov2-rag", json={}), 400)["error"]


def test_a_server_that_is_away_is_told(n8n: RunningN8n) -> None:
    answer = n8n.post("no-server", json={"query": "x"})
    assert told(answer, 502)["error"].startswith("TurboV2 was not reached: ")


@pytest.fixture(scope="module")
def recorded(n8n: RunningN8n, recorder: Recorder, high: bytes) -> dict[str, Sent]:
    """Returns what n8n sent in each of its ways."""
    n_before = len(recorder.requests())
    told(n8n.post("ways", files={"file": (FILE_NAME, high, "image/png")}))
    seen = recorder.requests()[n_before:]
    assert len(seen) == len(WAYS)
    return dict(zip(WAYS, seen, strict=True))


@pytest.mark.parametrize("name", WAYS)
def test_n8n_sends_these_bytes(
    recorded: dict[str, Sent], server: RunningServer, high: bytes, name: str
) -> None:
    """So what tests/contract/native/test_n8n_requests.py replays is what n8n sends."""
    seen, way = recorded[name], WAYS[name]
    assert seen == way.built(Target.of(seen), high)
    headers = {"content-type": seen.header("content-type")}
    assert server.http.post(seen.path, content=seen.body, headers=headers).status_code == way.status


def test_a_file_that_n8n_holds_in_memory(n8n: RunningN8n, recorder: Recorder, high: bytes) -> None:
    n_before = len(recorder.requests())
    headers = {"content-type": "image/png"}
    body = told(n8n.post("in-memory", content=high, headers=headers))
    (seen,) = recorder.requests()[n_before:]
    assert seen == n8n_requests.form(Target.of(seen), page(high, file_name=None))
    assert body["body"]["class_name"] == "HIGH"


def test_a_workflow_that_lost_patience_stops_the_model(n8n: RunningN8n, server: RunningServer) -> None:
    body = told(n8n.post("impatient", json={}))
    assert "3000" in str(body["error"])
    until(lambda: leases(server, SLOW) == 0)


class TestOllamaNodes:
    def test_embeddings(self, n8n: RunningN8n, unit_vectors: Embed) -> None:
        query = "How long do cats sleep?"
        body = told(n8n.post("vector-store", json={"texts": DOCUMENTS, "query": query}))
        vectors = unit_vectors([query, *DOCUMENTS])
        cosines = vectors[1:] @ vectors[0]
        assert body["document"]["pageContent"] == DOCUMENTS[int(np.argmax(cosines))]
        assert body["score"] == pytest.approx(float(cosines.max()), abs=1e-5)

    def test_the_credential_without_a_key(self, n8n: RunningN8n, recorder: Recorder) -> None:
        """The test button of the editor: GET /api/tags, "Bearer " and nothing behind it. Row 11."""
        session = {"browser-id": "tests"}
        told(n8n.http.post("/rest/owner/setup", json=OWNER, headers=session))
        n_before = len(recorder.requests())
        data = {"baseUrl": recorder.base_url, "apiKey": ""}
        credential = {"id": "ollama", "name": "ollama", "type": "ollamaApi", "data": data}
        tested = n8n.http.post("/rest/credentials/test", json={"credentials": credential}, headers=session)
        assert told(tested)["data"]["status"] == "OK"
        (seen,) = recorder.requests()[n_before:]
        assert seen.head.startswith(b"GET /api/tags HTTP/1.1\r\n")
        assert seen.header("authorization") == "Bearer"
