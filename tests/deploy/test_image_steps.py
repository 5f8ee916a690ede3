"""The CPU image, made by the Dockerfile's own steps in a folder and run from there. Takes minutes.

It runs as root where TURBOV2_BASE_ROOT names what this makes, and an index of packages is in reach:

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import PORT, ROOT
from tests.support.dockerfile import read_stages
from tests.support.image import Container, Images, running
from tests.support.pictures import packed
from tests.support.printed import HEADING, text_page

BASE = os.environ.get("TURBOV2_BASE_ROOT", "")
URL = f"http://127.0.0.1:{PORT}"
pytestmark = [
    pytest.mark.network,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not BASE or sys.platform != "linux" or os.geteuid() != 0, reason="needs root and TURBOV2_BASE_ROOT"
    ),
]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("image")
    stages = read_stages(ROOT / "Dockerfile", {"VARIANT": "cpu"})
    images = Images(ROOT, Path(BASE), folder, stages)
    images.build("server")
    with running(images, stages, folder / "volume") as started:
        yield started


def test_the_base_is_the_release_and_the_python_that_the_dockerfile_names() -> None:
    (argument,) = [
        line
        for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("ARG PYTHON_IMAGE")
    ]
    version, _, release = argument.partition("=python:")[2].split("-")
    assert f"VERSION_CODENAME={release}" in (Path(BASE) / "etc" / "os-release").read_text("utf-8")
    assert (Path(BASE) / "usr" / "bin" / f"python{version}").exists()


def test_it_embeds_with_no_network(container: Container) -> None:
    answer = json.loads(container.curl(f"{URL}/api/embed", "--data", '{"input":"hello"}'))
    assert len(answer["embeddings"][0]) == 256


def test_it_reads_a_page(container: Container, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(packed(text_page(), "PNG"))
    said = json.loads(container.curl(f"{URL}/api/classify", "--form", f"file=@{page}"))
    assert said["class_name"] == "LOW"
    read = json.loads(container.curl(f"{URL}/api/ocr", "--form", f"file=@{page}"))
    assert HEADING in json.dumps(read)


def test_every_library_of_its_variant_loads_in_it(container: Container) -> None:
    modules = "av, cv2, ctranslate2, faster_whisper, llguidance, onnxruntime, pypdfium2, xllamacpp"
    done = container.execute("python", "-c", f"import {modules}")
    assert done.returncode == 0, done.stderr


def test_it_runs_as_its_user_without_capabilities(container: Container) -> None:
    server = psutil.Process(container.pid)
    assert set(server.uids()) == {10001}
    status = Path(f"/proc/{container.pid}/status").read_text("utf-8")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert lines["NoNewPrivs"] == "1"


@pytest.mark.parametrize("path", ["/var/lib/turbov2", "/tmp"])
def test_it_writes_to_its_volume_and_to_tmp(container: Container, path: str) -> None:
    done = container.execute("touch", f"{path}/written")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["/", "/etc", "/opt/turbov2", "/usr/local", "/var/tmp"])
def test_it_writes_nowhere_else(container: Container, path: str) -> None:
    assert "Read-only file system" in container.execute("touch", f"{path}/written").stderr


def test_it_has_no_compiler_and_no_sources(container: Container) -> None:
    found = container.execute("sh", "-c", "command -v cc gcc clang git; ls /build")
    assert found.stdout == ""


def test_its_metadata_names_the_server(container: Container) -> None:
    listed = container.execute("turbov2", "models", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "wordllama-256d" in listed.stdout


def test_a_stop_is_clean(container: Container) -> None:
    os.kill(container.pid, signal.SIGTERM)
    try:
        assert container.process.wait(40) == 0
    except subprocess.TimeoutExpired:
        pytest.fail("it did not stop")
