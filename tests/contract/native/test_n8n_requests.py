"""What n8n's HTTP Request node sends, byte for byte: pages in every way, and the examples people copy."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("onnxruntime", reason="runs a classifier: needs onnxruntime")
pytest.importorskip("onnx", reason="builds a classifier: needs onnx")
pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from PIL import Image

from tests.support import n8n_requests as n8n
from tests.support.n8n_requests import RELEASES, Part, Release, Target
from tests.support.pdfs import pdf
from tests.support.recorder import Sent
from tests.support.server import (
    RunningServer,
    fake_model,
    leases,
    ollama_error,
    read_response,
    send_raw,
    until,
)
from tests.support.tiny_classifier import make_classifier

HOST = "deposium-embeddings-turbov2:11435"
NAMES = [
    "page.png",
    "Zoë's Prüfung 2026.png",
    'the "last" page.png',
    "日本語.png",
    'a;name="x"; b.png',
    "",
    None,
]
PROMPT = "Extract all text from this document"
SLOW = "slow-eyes"
CLASSIFY = Target(HOST, "/api/classify")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("n8n")
    classifier = make_classifier(folder / "classifier")
    eyes: dict[str, Any] = {"capability": "vision", "is_writer": True, "runner": "process"}
    models = [
        '[models."vl-classifier"]\ncapability = "classify"\nbackend = "classifier"\nrunner = "thread"\n'
        f'weights = {{ kind = "path", path = "{classifier}" }}\n',
        fake_model("lfm25-vl", folder, **eyes).replace("dimensions = 8\n", ""),
        fake_model(SLOW, folder, delay_s_per_token=0.2, **eyes).replace("dimensions = 8\n", ""),
        fake_model("m2v-bge-m3-1024d", folder),
        fake_model("mxbai-rerank-v2", folder, capability="rerank", runner="thread", is_reranker=True),
    ]
    with RunningServer(folder, models="\n".join(models)) as running:
        yield running


def image(shade: int = 0, kind: str = "PNG") -> bytes:
    """Returns a page of one gray; dark ones are HIGH."""
    opened = io.BytesIO()
    Image.new("L", (384, 512), shade).save(opened, kind)
    return opened.getvalue()


def uri(payload: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(payload).decode()}"


def ask(server: RunningServer, sent: Sent) -> httpx.Response:
    return send_raw(server, sent.head, sent.body)


def told(server: RunningServer, sent: Sent) -> Any:
    answer = ask(server, sent)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"  # the node parses by it
    return answer.json()


def to(path: str) -> Target:
    return Target(HOST, path)


def classify_form(*parts: Part) -> Sent:
    return n8n.form(CLASSIFY, *parts)


class TestPages:
    @pytest.mark.parametrize("file_name", NAMES)
    @pytest.mark.parametrize("field", ["file", "image", "data"])
    @pytest.mark.parametrize("release", RELEASES.values(), ids=["2.8", "2.41"])
    def test_a_form_with_a_file(
        self, server: RunningServer, release: Release, field: str, file_name: str | None
    ) -> None:
        target = Target(HOST, "/api/classify", release=release)
        sent = n8n.form(target, Part(field, image(), "image/png", file_name))
        assert told(server, sent)["class_name"] == "HIGH"

    @pytest.mark.parametrize("field", ["file", "image", "data"])
    @pytest.mark.parametrize("n_bytes", [0, 100_000])
    def test_a_file_that_n8n_2_8_holds_in_memory_has_no_name(
        self, server: RunningServer, field: str, n_bytes: int
    ) -> None:
        """As after "Raw Body" of its Webhook node. Also a large one, which would be too long for a field."""
        part = Part(field, image() + bytes(n_bytes), "image/png")
        assert told(server, classify_form(part))["class_name"] == "HIGH"

    def test_a_form_with_fields_beside_the_file(self, server: RunningServer) -> None:
        """All values of fields are texts there."""
        opened = io.BytesIO()
        sheets = [Image.new("L", (384, 512), shade) for shade in (255, 0)]
        sheets[0].save(opened, "TIFF", save_all=True, append_images=sheets[1:])
        file = Part("file", opened.getvalue(), "image/tiff", "two.tif")
        for page, label in (("1", "LOW"), ("2", "HIGH")):
            fields = (Part("page", page.encode()), Part("keep_alive", b"5m"), Part("note", "Zoë €".encode()))
            assert told(server, classify_form(file, *fields))["class_name"] == label

    def test_a_data_uri_in_a_form(self, server: RunningServer) -> None:
        assert told(server, classify_form(Part("image", uri(image()).encode())))["class_name"] == "HIGH"

    @pytest.mark.parametrize("value", [uri(image()), uri(image()).partition(",")[2]])
    def test_base64_in_json(self, server: RunningServer, value: str) -> None:
        sent = n8n.sent_json(CLASSIFY, {"image": value})
        assert told(server, sent)["class_name"] == "HIGH"

    @pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream"])
    def test_a_bare_file(self, server: RunningServer, media_type: str) -> None:
        sent = n8n.file(CLASSIFY, image(), media_type)
        assert told(server, sent)["class_name"] == "HIGH"

    def test_the_kind_is_told_from_the_bytes(self, server: RunningServer) -> None:
        """n8n guesses the type from a file's name, so it may be wrong."""
        part = Part("file", image(255, "JPEG"), "application/pdf", "page.pdf")
        assert told(server, classify_form(part))["image"]["format"] == "JPEG"

    @pytest.mark.parametrize("path", ["/api/ocr", "/api/documents"])
    @pytest.mark.parametrize("file_name", ["letter.pdf", None])
    def test_the_text_of_a_pdf(self, server: RunningServer, path: str, file_name: str | None) -> None:
        """Its Accept names text/* and all else, and asks for no stream."""
        letter = pdf(
            "BT /F 12 Tf 72 700 Td (The mill stands by the river and turns) Tj "
            "0 -16 Td (when the snow melts in the valley above.) Tj ET"
        )
        parts = [
            Part("file", letter, "application/pdf", file_name),
            Part("format", b"json"),
            Part("pages", b"1"),
        ]
        body = told(server, n8n.form(to(path), *parts))
        assert body["pages"][0]["text"].startswith("The mill stands by the river and turns\nwhen the snow")

    def test_a_question_about_a_page(self, server: RunningServer) -> None:
        fields = (Part("model", b"lfm25-vl"), Part("prompt", PROMPT.encode()))
        sent = n8n.form(to("/api/vision"), Part("file", image(), "image/png", "page.png"), *fields)
        assert told(server, sent)["response"] == f"384x512 {PROMPT}"


class TestCopiedExamples:
    """The bodies that people paste into the node, as they stand in what they copy from."""

    def test_embed(self, server: RunningServer) -> None:
        body = {"model": "m2v-bge-m3-1024d", "input": "Your text here"}
        answer = told(server, n8n.sent_json(to("/api/embed"), body))
        assert answer["model"] == "m2v-bge-m3-1024d"
        assert [len(vector) for vector in answer["embeddings"]] == [8]

    def test_rerank(self, server: RunningServer) -> None:
        documents = ["AI and ML", "cooking recipes", "deep learning"]
        body = {"model": "mxbai-rerank-v2", "query": "machine learning", "documents": documents}
        answer = told(server, n8n.sent_json(to("/api/rerank"), body))
        assert answer["model"] == "mxbai-rerank-v2"
        assert sorted(each["index"] for each in answer["results"]) == [0, 1, 2]
        assert all(each["document"] == documents[each["index"]] for each in answer["results"])
        scores = [each["relevance_score"] for each in answer["results"]]
        assert scores == sorted(scores, reverse=True)

    def test_classify_a_file(self, server: RunningServer) -> None:
        part = Part("file", image(0, "JPEG"), "image/jpeg", "document.jpg")
        answer = told(server, classify_form(part))
        assert (answer["class_name"], answer["class_id"]) == ("HIGH", 1)
        assert answer["confidence"] == answer["probabilities"]["HIGH"]
        assert answer["routing_decision"].startswith("Complex document - Route to VLM reasoning pipeline")
        assert answer["latency_ms"] > 0

    def test_classify_base64(self, server: RunningServer) -> None:
        body = {"image": uri(image(255, "JPEG"), "image/jpeg")}
        answer = told(server, n8n.sent_json(CLASSIFY, body))
        assert (answer["class_name"], answer["class_id"]) == ("LOW", 0)

    def test_vision(self, server: RunningServer) -> None:
        body = {"image": uri(image(0, "JPEG"), "image/jpeg"), "model": "lfm25-vl", "prompt": PROMPT}
        answer = told(server, n8n.sent_json(to("/api/vision"), body))
        assert answer["model"] == "lfm25-vl"
        assert answer["response"] == f"384x512 {PROMPT}"
        assert answer["latency_ms"] > 0

    @pytest.mark.parametrize("path", ["/api/classify", "/api/vision"])
    def test_an_image_that_is_only_hinted_at_is_refused(self, server: RunningServer, path: str) -> None:
        body = {"image": "data:image/jpeg;base64,/9j/4AAQ...", "model": None, "prompt": PROMPT}
        answer = ask(server, n8n.sent_json(to(path), body))
        assert ollama_error(answer, 400) == "image is not valid base64"


class TestMistakes:
    """What a workflow in the making sends. The node shows the answer's text, which says what is wrong."""

    @pytest.mark.parametrize("path", ["/api/classify", "/api/ocr", "/api/vision", "/api/documents"])
    def test_a_form_without_any_field(self, server: RunningServer, path: str) -> None:
        told = ollama_error(ask(server, n8n.form(to(path))), 400)
        assert told.endswith("is required: send a form with a file, or JSON with base64 or a data URI")

    def test_a_form_without_a_file(self, server: RunningServer) -> None:
        answer = ask(server, classify_form(Part("model", b"vl-classifier")))
        assert ollama_error(answer, 400).startswith("image is required: send a form with a file")

    @pytest.mark.parametrize("file_name", ["empty.png", None])
    def test_an_empty_file(self, server: RunningServer, file_name: str | None) -> None:
        answer = ask(server, classify_form(Part("file", b"", "image/png", file_name)))
        assert ollama_error(answer, 400) == "image is empty: 0 bytes came"

    def test_an_empty_file_in_chunks(self, server: RunningServer) -> None:
        """n8n 2.41 does not know the length of a form with an empty file."""
        target = Target(HOST, "/api/classify", release=n8n.N8N_2_41)
        sent = n8n.in_chunks(n8n.form(target, Part("file", b"", "image/png", "empty.png")))
        assert ollama_error(ask(server, sent), 400) == "image is empty: 0 bytes came"

    def test_two_files(self, server: RunningServer) -> None:
        answer = ask(server, classify_form(*(Part(name, image(), "image/png") for name in ("file", "file2"))))
        assert "second file, 'file2'" in ollama_error(answer, 400)

    @pytest.mark.parametrize("path", ["/api/classify", "/api/ocr", "/api/vision", "/api/documents"])
    def test_a_url_encoded_form(self, server: RunningServer, path: str) -> None:
        told = ollama_error(ask(server, n8n.url_encoded(to(path), image=uri(image()))), 400)
        assert told.startswith("a URL-encoded form carries no ")
        assert told.endswith("here; send multipart/form-data or JSON")

    def test_a_text_file(self, server: RunningServer) -> None:
        answer = ask(server, classify_form(Part("file", b"hello", "text/plain", "a.txt")))
        assert "plain text is not read here" in ollama_error(answer, 415)

    def test_a_number_typed_into_a_field(self, server: RunningServer) -> None:
        """ "Using Fields Below" makes texts of what is no expression."""
        body = {"model": "mxbai-rerank-v2", "query": "q", "documents": ["a", "b"], "top_k": "1"}
        answer = ask(server, n8n.sent_json(to("/api/rerank"), body))
        assert ollama_error(answer, 400).startswith("top_k: Expected `int")


def test_a_workflow_that_lost_patience_stops_the_model(server: RunningServer) -> None:
    """The node's timeout closes the connection without a word."""
    fields = (Part("model", SLOW.encode()), Part("prompt", b"word " * 200))
    sent = n8n.form(to("/api/vision"), Part("file", image(), "image/png", "page.png"), *fields)
    with server.connect() as connection:
        connection.sendall(sent.head + b"\r\n\r\n" + sent.body)
        until(lambda: leases(server, SLOW) == 1)
    until(lambda: leases(server, SLOW) == 0)


def test_each_request_has_a_connection_of_its_own_and_sees_it_closed(server: RunningServer) -> None:
    sent = classify_form(Part("file", image(), "image/png", "page.png"))
    with server.connect() as connection:
        connection.sendall(sent.head + b"\r\n\r\n" + sent.body)
        assert read_response(connection).headers["connection"] == "close"
        assert connection.recv(1) == b""
