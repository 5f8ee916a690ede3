"""The console as people meet it, in Chromium; and its modules that need no browser, under Node."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="draws a page: needs pillow")
pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")
pytest.importorskip("onnxruntime", reason="runs the page classifier: needs onnxruntime")
pytest.importorskip("av", reason="decodes audio: needs the extra audio")
pytest.importorskip("rapidocr", reason="offers to read pages: needs rapidocr")

from tests.support import node
from tests.support.ears import recording, words
from tests.support.pdfs import pdf
from tests.support.pictures import packed
from tests.support.printed import two_columns
from tests.support.server import FAKE, Embed, RunningServer, fake_model
from turbov2.server.console import page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
KEY = "the-only-key"
PROSE = "The mill stands by the river and turns when the snow melts in the mountains above the town"

pytestmark = [node.needs_node, node.slow_at_first]


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[RunningServer]:
    models = fake_model(FAKE, tmp_path, need_bytes=1_000_000)
    models += fake_model("fake-broken", tmp_path, load_fails=True)
    models += fake_model("fake-eyes", tmp_path, runner="thread", capability="vision", is_writer=True)
    models += fake_model(
        "fake-ears", tmp_path, runner="process", capability="transcribe", is_listener=True
    ).replace("dimensions = 8\n", "")
    with RunningServer(tmp_path, env={"EMBEDDINGS_API_KEY": KEY}, models=models) as running:
        yield running


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_visit(locked: RunningServer, tmp_path: Path, unit_vectors: Embed) -> None:
    node.install()
    image, book = tmp_path / "page.png", tmp_path / "book.pdf"
    image.write_bytes(packed(two_columns(), "PNG"))
    book.write_bytes(
        pdf(*(f"BT /F 12 Tf 72 700 Td (Page {n}: {PROSE}) Tj 0 -16 Td ({PROSE}) Tj ET" for n in (1, 2, 3)))
    )
    sound = tmp_path / "talk.wav"
    sound.write_bytes(recording(6, silent=(3, 4, 5)))
    files = (image, book, sound)
    seen = node.run_script("console.mjs", locked.base_url, KEY, CHROMIUM, *map(str, files))
    first, second = unit_vectors(["a first text", "another one"])
    assert seen["cosine"] == pytest.approx(float(first @ second), abs=1e-4)
    assert seen["best"] == "Cats sleep sixteen hours a day."
    headers = {"X-API-Key": KEY, "Content-Type": "image/png"}
    judged = locked.http.post("/api/classify", content=image.read_bytes(), headers=headers).json()
    assert seen["label"] == judged["class_name"]
    assert seen["answer"] == "1000x460 say <b>this</b> again"
    assert PROSE in " ".join(seen["text"].split())
    assert seen["said"] == words(3)
    assert seen["heard"].startswith("0:00.")
    assert "s0" in seen["heard"]
    assert KEY not in locked.log()


def test_modules() -> None:
    assert node.run_script("console_modules.mjs", str(page._FOLDER)) == {}
