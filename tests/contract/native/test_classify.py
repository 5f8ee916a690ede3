"""POST /api/classify: every way to send a page, what comes back, and what is refused."""

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

from tests.support.server import RunningServer, ollama_error
from tests.support.tiny_classifier import THRESHOLD, make_classifier, p_high

PATHS = ("/api/classify", "/api/classify/file", "/api/classify/base64")
MODEL = "vl-classifier"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("classify")
    model = make_classifier(folder / "model")
    table = (
        f'[models."{MODEL}"]\ncapability = "classify"\nbackend = "classifier"\nrunner = "thread"\n'
        f'[models."{MODEL}".weights]\nkind = "path"\npath = "{model}"\n'
    )
    with RunningServer(folder, models=table) as running:
        yield running


def page(shade: int, size: tuple[int, int] = (384, 512), kind: str = "PNG") -> bytes:
    """Returns a page of one gray; of the canvas's own shape, so that no white is added."""
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, kind)
    return file.getvalue()


def uri(payload: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(payload).decode()}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("way", ["form", "data URI", "base64", "field of a form", "bare file"])
def test_every_way_to_send_a_page(server: RunningServer, path: str, way: str) -> None:
    payload = page(204)
    text = base64.b64encode(payload).decode()
    requests: dict[str, dict[str, Any]] = {
        "form": {"files": {"file": ("page.png", payload, "image/png")}},
        "data URI": {"json": {"image": uri(payload)}},
        "base64": {"json": {"image": text}},
        "field of a form": {"data": {"image": text}, "files": {"other": ("", b"")}},
        "bare file": {"content": payload, "headers": {"content-type": "image/png"}},
    }
    if way == "field of a form":  # curl -F image=...
        requests[way] = {"files": {"image": (None, text)}}
    answer = server.http.post(path, **requests[way])
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"]["HIGH"] == pytest.approx(p_high(0.2), abs=1e-4)


@pytest.mark.parametrize(("shade", "label"), [(255, "LOW"), (250, "HIGH"), (0, "HIGH")])
def test_the_answer(server: RunningServer, shade: int, label: str) -> None:
    """The second page is below one half, and HIGH all the same: the threshold decides."""
    told = server.http.post("/api/classify", files={"file": ("p.png", page(shade))}).json()
    wanted = p_high(1 - shade / 255)
    assert (wanted >= THRESHOLD) == (label == "HIGH")
    assert told["class_name"] == told["complexity"] == told["classification"] == label
    assert told["class_id"] == (label == "HIGH")
    assert told["probabilities"] == pytest.approx({"LOW": 1 - wanted, "HIGH": wanted}, abs=1e-4)
    assert told["confidence"] == told["probabilities"][label]
    assert told["routing_decision"].startswith("Complex" if label == "HIGH" else "Simple")
    assert told["model"] == MODEL
    assert told["threshold"] == THRESHOLD
    assert told["image"] == {"format": "PNG", "width": 384, "height": 512, "pages": 1}
    assert 0 < told["latency_ms"] == told["processing_time"]


def test_lying_pages_lie_on_a_lying_canvas(server: RunningServer) -> None:
    upright = server.http.post("/api/classify", files={"file": ("p.png", page(200))}).json()
    lying = server.http.post("/api/classify", files={"file": ("p.png", page(200, (512, 384)))}).json()
    assert lying["probabilities"] == pytest.approx(upright["probabilities"], abs=1e-5)


def test_of_a_document_one_page_is_asked_for(server: RunningServer) -> None:
    file = io.BytesIO()
    sheets = [Image.new("L", (384, 512), shade) for shade in (255, 128, 0)]
    sheets[0].save(file, "TIFF", save_all=True, append_images=sheets[1:])
    for number, shade in ((1, 255), (3, 0)):
        told = server.http.post(
            "/api/classify", files={"file": ("p.tif", file.getvalue())}, data={"page": str(number)}
        ).json()
        assert told["probabilities"]["HIGH"] == pytest.approx(p_high(1 - shade / 255), abs=1e-4)
        assert told["image"]["pages"] == 3
    late = server.http.post("/api/classify", files={"file": ("p.tif", file.getvalue())}, data={"page": "4"})
    assert "3" in ollama_error(late, 400)


class TestN8nsRerankerNode:
    def test_a_document_with_an_image(self, server: RunningServer) -> None:
        """The node sends the model that was picked for ranking; which one answered is said."""
        body = {"text": "an invoice", "model": "wordllama-256d:latest", "image": uri(page(0))}
        told = server.http.post("/api/classify", json=body).json()
        assert (told["complexity"], told["model"]) == ("HIGH", MODEL)

    def test_a_text_alone_is_low_by_the_rule(self, server: RunningServer) -> None:
        told = server.http.post("/api/classify", json={"text": "an invoice", "model": "x"}).json()
        assert (told["complexity"], told["confidence"], told["model"]) == ("LOW", 1.0, "none")


def test_the_status_tells_that_pages_can_be_classified(server: RunningServer) -> None:
    assert server.http.get("/api/status").json()["has_classifier"] is True


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"content": b""}, 400, "missing request body"),
    ({"json": {}}, 400, "image is required"),
    ({"json": {"image": ""}}, 400, "0 bytes"),
    ({"json": {"image": "https://example.com/a.png"}}, 400, "URLs are not fetched"),
    ({"json": {"image": "file:///etc/passwd"}}, 400, "URLs are not fetched"),
    ({"json": {"image": "data:image/png,abc"}}, 400, "without base64"),
    ({"json": {"image": "***"}}, 400, "not valid base64"),
    ({"json": {"image": ["a"]}}, 400, "expected base64 text"),
    ({"json": {"image": uri(b"just a text")}}, 415, "is not read here"),
    ({"json": {"image": uri(page(0)[:60])}}, 400, "cut short"),
    ({"json": {"image": uri(page(0)), "model": "wordllama-256d"}}, 400, "does not classify"),
    ({"json": {"image": uri(page(0)), "model": "nope"}}, 404, "nope"),
    ({"json": {"image": uri(page(0)), "page": "two"}}, 400, "'two'"),
    ({"files": {"file": ("a.png", page(0)), "file2": ("b.png", page(0))}}, 400, "second file"),
    (
        {"content": b"--x\r\nbad", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "multipart",
    ),
    ({"content": b"abc", "headers": {"content-type": "multipart/form-data"}}, 400, "multipart"),
]


@pytest.mark.parametrize(("request_", "status", "says"), BAD)
def test_refused(server: RunningServer, request_: dict[str, Any], status: int, says: str) -> None:
    answer: httpx.Response = server.http.post("/api/classify", **request_)
    assert says in ollama_error(answer, status)
    assert server.http.post("/api/classify", files={"file": ("p.png", page(9))}).status_code == 200
