"""`turbov2 read` against a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from tests.support.pdfs import pdf
from tests.support.server import MakeServer, RunningServer, fake_model, metric, until
from turbov2.cli import app

BOOK = pdf(*(f"BT /F 12 Tf 50 700 Td (Page {number} of a *book*) Tj ET" for number in (1, 2, 3)))
Read = Callable[..., Result]


@pytest.fixture
def read(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Runs the command in a folder where book.pdf is, against the server."""
    for name in [name for name in os.environ if name.startswith(("TURBOV2_", "EMBEDDINGS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TURBOV2_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("book.pdf").write_bytes(BOOK)
    return lambda *args, url=server.base_url: CliRunner().invoke(app, ["read", *args, "--url", url])


def test_text_of_one_file(read: Read) -> None:
    result = read("book.pdf")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "\n\n".join(f"Page {n} of a *book*" for n in (1, 2, 3)) + "\n"
    assert "reading book.pdf: 3 pages" in result.stderr


def test_markdown_of_some_pages(read: Read) -> None:
    assert read("book.pdf", "--pages", "2", "-f", "markdown").stdout == "Page 2 of a \\*book\\*\n"


def test_json(read: Read) -> None:
    body = json.loads(read("book.pdf", "--format", "json").stdout)
    assert body["file"] == "book.pdf"
    assert [page["page"] for page in body["pages"]] == [1, 2, 3]
    assert body["pages"][0]["route"]["way"] == "text"


def test_several_files_on_stdout_are_named(read: Read) -> None:
    Path("other.pdf").write_bytes(pdf("BT /F 12 Tf 50 700 Td (Another) Tj ET"))
    assert read("book.pdf", "other.pdf").stdout.endswith("==> other.pdf <==\nAnother\n")


def test_several_files_into_a_folder(read: Read) -> None:
    Path("other.pdf").write_bytes(BOOK)
    result = read("book.pdf", "other.pdf", "--out", "texts/new")
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(path.name for path in Path("texts/new").iterdir()) == ["book.txt", "other.txt"]


def test_names_that_would_collide_are_refused_first(read: Read) -> None:
    Path("deep").mkdir()
    Path("deep/book.pdf").write_bytes(BOOK)
    result = read("book.pdf", "deep/book.pdf", "--out", "texts")
    assert result.exit_code == 2
    assert "book.txt" in result.stderr
    assert not Path("texts").exists()


def test_a_file_that_fails_does_not_stop_the_others(read: Read) -> None:
    Path("broken.pdf").write_bytes(BOOK[:900])
    result = read("broken.pdf", "missing.pdf", "book.pdf", "--out", "texts")
    assert result.exit_code == 1
    assert "cut short" in result.stderr
    assert "missing.pdf" in result.stderr
    assert [path.name for path in Path("texts").iterdir()] == ["book.txt"]


def test_a_page_that_fails_is_told_and_the_others_are_written(read: Read) -> None:
    """The empty page wants OCR; where that does not run, it fails."""
    Path("scan.pdf").write_bytes(pdf("BT /F 12 Tf 50 700 Td (First) Tj ET", ""))
    result = read("scan.pdf")
    assert result.stdout.startswith("First")
    assert (result.exit_code == 1) == ("scan.pdf, page 2:" in result.stderr)


@pytest.mark.parametrize(("args", "said"), [(("--pages", "9"), "3 pages"), (("--pages", "x"), "page range")])
def test_what_the_server_refuses_is_told(read: Read, args: tuple[str, ...], said: str) -> None:
    result = read("book.pdf", *args)
    assert result.exit_code == 1
    assert said in result.stderr


def test_locked_files(read: Read) -> None:
    Path("locked.pdf").write_bytes(pdf("BT /F 12 Tf 50 700 Td (Secret) Tj ET", password="sesame"))
    assert "password" in read("locked.pdf").stderr
    assert read("locked.pdf", "--password", "sesame").stdout == "Secret\n"


def test_no_server(read: Read) -> None:
    result = read("book.pdf", url="http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "no server is listening" in result.stderr


def test_ctrl_c_ends_the_command_and_the_work(make_server: MakeServer, tmp_path: Path) -> None:
    """Pages are embedded by a model that takes a minute to load, so that the reading lasts."""
    slow = make_server(models=fake_model("slow", tmp_path, runner="process", load_delay_s=60))
    file = tmp_path / "book.pdf"
    file.write_bytes(BOOK)
    code = (
        "import turbov2.cli._client as client\n"
        "form = client._form_request\n"
        "client._form_request = lambda *of, fields: form(*of, fields={**fields, 'embed': 'slow'})\n"
        f"import sys; sys.argv = ['turbov2', 'read', {str(file)!r}, '--url', {slow.base_url!r}]\n"
        "from turbov2.cli import main; main()\n"
    )
    command = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    until(lambda: metric(slow, "turbov2_requests_accepted_total", model="slow") == 1)
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=10)
    assert command.returncode == 130
    assert "Traceback" not in told
    until(lambda: metric(slow, "turbov2_requests_ended_total", model="slow") == 1)
