"""POST /api/vision: every way to ask about a page, what comes back, whole or as it is written."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from PIL import Image

from tests.support.pdfs import pdf
from tests.support.server import MakeServer, RunningServer, fake_model, ollama_error, until

PATHS = ("/api/vision", "/api/vision/file")
MODEL, SLOW, DEADLY = "lfm25-vl", "slow-eyes", "deadly-eyes"
WORD_S = 0.05
LONG = " ".join(f"w{number}" for number in range(400))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("vision")
    writer: dict[str, Any] = {"capability": "vision", "is_writer": True}
    models = [
        fake_model(MODEL, folder, **writer, fail_on="FAIL"),
        fake_model(SLOW, folder, runner="process", delay_s_per_token=WORD_S, **writer),
        fake_model(DEADLY, folder, runner="process", crash_on="CRASH", **writer),
        fake_model("reader", folder, capability="ocr"),
    ]
    models = [table.replace("dimensions = 8\n", "").replace('"inline"', '"thread"') for table in models]
    with RunningServer(folder, models="\n".join(models)) as running:
        yield running


def page(size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(file, "PNG")
    return file.getvalue()


def uri(payload: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(payload).decode()}"


def ask(server: RunningServer, prompt: str = "what is it", **fields: Any) -> httpx.Response:
    return server.http.post("/api/vision", json={"image": uri(page()), "prompt": prompt, **fields})


def lines_of(server: RunningServer, **fields: Any) -> Iterator[dict[str, Any]]:
    body = {"image": uri(page()), "stream": True, **fields}
    with server.http.stream("POST", "/api/vision", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        yield from map(json.loads, answer.iter_lines())


def n_active(server: RunningServer, model: str) -> int:
    residents = server.http.get("/api/status").json()["residents"]
    return next((each["leases"] for each in residents if each["model"] == model), 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("way", ["form", "data URI", "base64", "field of a form", "bare file"])
def test_every_way_to_send_a_page(server: RunningServer, path: str, way: str) -> None:
    payload, prompt = page(), {"prompt": "what is it"}
    text = base64.b64encode(payload).decode()
    requests: dict[str, dict[str, Any]] = {
        "form": {"files": {"file": ("page.png", payload, "image/png")}, "data": prompt},
        "data URI": {"json": {"image": uri(payload), **prompt}},
        "base64": {"json": {"image": text, **prompt}},
        "field of a form": {"files": {"image": (None, text), "prompt": (None, "what is it")}},
        "bare file": {"content": payload, "headers": {"content-type": "image/png"}, "params": prompt},
    }
    answer = server.http.post(path, **requests[way])
    assert answer.status_code == 200, answer.text
    assert answer.json()["response"] == "40x30 what is it"


def test_the_answer(server: RunningServer) -> None:
    told = ask(server, "one two three four", max_tokens=3).json()
    assert told["model"] == MODEL
    assert told["response"] == "40x30 one two"
    assert (told["done_reason"], told["prompt_tokens"], told["output_tokens"]) == ("length", 5, 3)
    assert told["tiles"] == 1
    assert told["image"] == {"format": "PNG", "width": 40, "height": 30, "pages": 1}
    assert set(told["timings"]) == {"load_ms", "decode_ms", "queue_ms", "prompt_ms", "output_ms"}
    assert told["latency_ms"] > 0
    assert ask(server, "a END b", stop="END").json()["response"] == "40x30 a"
    assert ask(server, "a END b", stop=["x", "END"]).json()["done_reason"] == "stop"


def test_without_a_prompt_the_text_is_asked_for(server: RunningServer) -> None:
    told = server.http.post("/api/vision", json={"image": uri(page())}).json()
    assert told["response"] == "40x30 Extract all text from this document."


def test_a_page_of_a_document(server: RunningServer) -> None:
    document = pdf("", "", size=(72, 144))
    files = {"file": ("two.pdf", document, "application/pdf")}
    told = server.http.post("/api/vision/file", files=files, data={"page": "2", "prompt": "and"}).json()
    assert told["response"] == "110x220 and"
    assert told["image"]["pages"] == 2
    late = server.http.post("/api/vision/file", files=files, data={"page": "3"})
    assert "2" in ollama_error(late, 400)


def test_streamed_lines_add_up_to_the_whole_answer(server: RunningServer) -> None:
    whole = ask(server, LONG).json()
    *pieces, last = lines_of(server, prompt=LONG)
    assert "".join(piece["response"] for piece in pieces) == whole["response"]
    assert all(set(piece) == {"model", "response", "done"} and not piece["done"] for piece in pieces)
    assert (last["done"], last["response"], last["model"]) == (True, "", MODEL)
    assert set(last) == {*whole, "done"}
    same = ("done_reason", "prompt_tokens", "output_tokens", "tiles", "image")
    assert [last[name] for name in same] == [whole[name] for name in same]


def test_lines_come_as_the_text_is_written(server: RunningServer) -> None:
    ask(server, "load it", model=SLOW)
    at_s = [time.perf_counter() for _ in lines_of(server, model=SLOW, prompt="a b c d e f g")]
    assert len(at_s) >= 7
    assert at_s[-1] - at_s[0] > 4 * WORD_S


def test_who_leaves_frees_the_model(server: RunningServer) -> None:
    lines = lines_of(server, model=SLOW, prompt=LONG)
    next(lines)
    assert n_active(server, SLOW) == 1
    lines.close()
    until(lambda: n_active(server, SLOW) == 0, deadline_s=2)
    began_s = time.perf_counter()
    assert ask(server, "b", model=SLOW).json()["response"] == "40x30 b"
    assert time.perf_counter() - began_s < 1


def test_who_leaves_before_the_answer_frees_the_model_too(server: RunningServer) -> None:
    ask(server, "load it", model=SLOW)
    with pytest.raises(httpx.ReadTimeout):
        server.http.post(
            "/api/vision", json={"image": uri(page()), "model": SLOW, "prompt": LONG}, timeout=0.3
        )
    until(lambda: n_active(server, SLOW) == 0, deadline_s=2)


def test_a_slow_reader_holds_up_nobody(server: RunningServer) -> None:
    """The answer is far larger than what sockets hold; the model is free long before it is read."""
    prompt = " ".join(f"{number:->400}" for number in range(20_000))
    body = {"image": uri(page()), "stream": True, "prompt": prompt[:1_000_000], "max_tokens": 100_000}
    other = httpx.Client(base_url=server.base_url, timeout=30)
    with other, other.stream("POST", "/api/vision", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert ask(server, "quick").json()["response"] == "40x30 quick"
        text = "".join(json.loads(line)["response"] for line in lines)
    assert len(text) > 900_000


def test_a_failure_midway_is_the_last_line(server: RunningServer) -> None:
    """Not a word that came before is lost, and nothing is written twice."""
    body = {"image": uri(page()), "stream": True, "prompt": "a " * 50 + "CRASH b", "model": DEADLY}
    with server.http.stream("POST", "/api/vision", json=body) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    *pieces, last = lines
    assert "ended (signal 9)" in last["error"]
    assert "".join(piece["response"] for piece in pieces) == "40x30" + " a" * 50
    whole = ask(server, "a CRASH b", model=DEADLY)
    assert "ended (signal 9)" in ollama_error(whole, 500)
    assert ask(server, "a b", model=DEADLY).json()["response"] == "40x30 a b"


def test_the_catalogue_and_status_tell_of_it(server: RunningServer) -> None:
    assert server.http.get("/api/status").json()["has_vision"] is True
    shown = server.http.post("/api/show", json={"model": MODEL}).json()
    assert shown["capabilities"] == ["completion", "vision"]


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"content": b""}, 400, "missing request body"),
    ({"json": {"prompt": "a"}}, 400, "image is required"),
    ({"json": {"image": uri(b"just a text")}}, 415, "is not read here"),
    ({"json": {"image": uri(page()[:40])}}, 400, "cut short"),
    ({"json": {"image": uri(page()), "model": "nope"}}, 404, "nope"),
    ({"json": {"image": uri(page()), "model": "nope", "stream": True}}, 404, "nope"),
    ({"json": {"image": uri(page()), "model": "wordllama-256d"}}, 400, "does not see"),
    ({"json": {"image": uri(page()), "model": "reader"}}, 400, "lfm25-vl"),
    ({"json": {"image": uri(page()), "model": "reader", "stream": True}}, 400, "lfm25-vl"),
    ({"json": {"image": uri(page()), "prompt": ["a"]}}, 400, "expected a string"),
    ({"json": {"image": uri(page()), "prompt": "a" * 1_000_001}}, 400, "TURBOV2_MAX_TEXT_CHARS"),
    ({"json": {"image": uri(page()), "max_tokens": 0}}, 400, "max_tokens"),
    ({"json": {"image": uri(page()), "temperature": 3}}, 400, "from 0 to 2"),
    ({"json": {"image": uri(page()), "temperature": "warm"}}, 400, "'warm'"),
    ({"json": {"image": uri(page()), "temperature": True}}, 400, "temperature"),
    ({"json": {"image": uri(page()), "seed": -5}}, 400, "seed"),
    ({"json": {"image": uri(page()), "stop": [""]}}, 400, "stop"),
    ({"json": {"image": uri(page()), "stop": [1]}}, 400, "stop"),
    ({"json": {"image": uri(page()), "stop": 7}}, 400, "stop"),
    ({"json": {"image": uri(page()), "stream": "maybe"}}, 400, "stream"),
    ({"json": {"image": uri(page()), "keep_alive": [1]}}, 400, "keep_alive"),
    ({"json": {"image": uri(page()), "prompt": "a FAIL"}}, 500, "told to fail"),
]


@pytest.mark.parametrize(("request_", "status", "says"), BAD)
def test_refused(server: RunningServer, request_: dict[str, Any], status: int, says: str) -> None:
    assert says in ollama_error(server.http.post("/api/vision", **request_), status)
    assert ask(server).status_code == 200


def test_the_shipped_model_without_weights_says_how_to_get_them(make_server: MakeServer) -> None:
    bare = make_server(env={"TURBOV2_AUTO_PULL": "false"})
    told = ollama_error(bare.http.post("/api/vision", json={"image": uri(page())}), 404)
    assert "turbov2 pull lfm25-vl" in told
