"""Pulls through huggingface_hub itself, from a hub on this machine that can be told to misbehave."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.support.hub import COMMIT, REPO, FakeHub
from turbov2.catalog.spec import HubWeights, ModelSpec
from turbov2.catalog.weights import PullCancelled, WeightsStore, checks, fetch
from turbov2.catalog.weights.hub import Hub
from turbov2.errors import InvalidRequest, PullFailed
from turbov2.types.status import PullProgress

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {
    "config.json": b'{"hidden_size": 4}',
    "model.safetensors": WEIGHTS,
    "1_Pooling/config.json": b"{}",
    "empty.json": b"",
    "README.md": b"# tiny",
}
PATTERNS = ("*.json", "*.safetensors")


def spec_of(
    *,
    files: tuple[str, ...] = PATTERNS,
    revision: str = "",
    repo: str = REPO,
    name: str = "tiny",
    backend: str = "onnx",
) -> ModelSpec:
    return ModelSpec(
        name=name,
        capability="embed",
        backend=backend,
        runner="thread",
        weights=HubWeights(repo=repo, files=files, revision=revision),
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(fetch, "PAUSES_S", (0, 0))
    with FakeHub(FILES) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hf" / "hub"


@pytest.fixture
def store(hub: FakeHub, tmp_path: Path, cache: Path) -> WeightsStore:
    return WeightsStore(tmp_path / "home", hub=Hub(endpoint=hub.url, cache=cache))


def pull(store: WeightsStore, spec: ModelSpec | None = None) -> list[PullProgress]:
    steps: list[PullProgress] = []
    store.pull(spec or spec_of(), steps.append)
    return steps


def refusal(store: WeightsStore, spec: ModelSpec | None = None) -> str:
    """Returns the message of the pull's failure, after checks that hold for all of them."""
    spec = spec or spec_of()
    with pytest.raises(PullFailed) as caught:
        pull(store, spec)
    message = caught.value.message
    assert "://" not in message
    assert "/tmp" not in message
    assert "127.0.0.1" not in message
    assert store.locate(spec) is None
    return message


def test_a_pull_brings_the_matching_files_checked_and_pinned(store: WeightsStore, hub: FakeHub) -> None:
    assert store.locate(spec_of()) is None
    steps = pull(store)
    found = store.locate(spec_of())
    assert found is not None
    assert set(found.files) == {"config.json", "model.safetensors", "1_Pooling/config.json", "empty.json"}
    assert all(Path(path).read_bytes() == FILES[name] for name, path in found.files.items())
    assert found.revision == COMMIT
    assert found.size_bytes == sum(len(FILES[name]) for name in found.files)
    assert found.modified_at.tzinfo is not None
    lines = "".join(f"{name} {hashlib.sha256(FILES[name]).hexdigest()}\n" for name in sorted(found.files))
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()
    store.verify(spec_of())
    assert [step.phase for step in (steps[0], *steps[-2:])] == ["resolving", "publishing", "done"]
    told = [s for s in steps if s.phase == "downloading" and s.file == "model.safetensors"]
    assert told[0].done_bytes == 0
    assert told[-1].done_bytes == told[-1].total_bytes == len(WEIGHTS)
    assert told[-1].sha256 == hub.blob("model.safetensors")


def test_a_second_pull_fetches_nothing(store: WeightsStore, hub: FakeHub) -> None:
    pull(store)
    n_before = len(hub.asked)
    pull(store)
    assert [one.path for one in hub.asked[n_before:]] == [f"/api/models/{REPO}"]
    pull(store, spec_of(revision=COMMIT))  # pinned and undamaged: the hub is not even asked
    assert len(hub.asked) == n_before + 1


def test_another_revision_repository_or_file_list_is_not_installed(store: WeightsStore) -> None:
    pull(store)
    assert store.locate(spec_of(revision=COMMIT)) is not None
    assert store.locate(spec_of(revision="b" * 40)) is None
    assert store.locate(spec_of(repo="acme/other")) is None
    assert store.locate(spec_of(files=("*.json",))) is None


def test_main_that_moved_is_pulled_anew(store: WeightsStore, hub: FakeHub) -> None:
    pull(store)
    hub.commit, hub.files["config.json"] = "b" * 40, b'{"hidden_size": 8}'
    pull(store)
    found = store.locate(spec_of())
    assert found is not None
    assert found.revision == "b" * 40
    assert Path(found.files["config.json"]).read_bytes() == b'{"hidden_size": 8}'
    assert len(hub.ranges("model.safetensors")) == 1  # same blob: fetched once


def test_a_cut_is_resumed_within_one_pull(store: WeightsStore, hub: FakeHub) -> None:
    hub.cut_after["model.safetensors"] = [300_000, 200_000]
    pull(store)
    assert hub.ranges("model.safetensors") == ["", "bytes=300000-", "bytes=500000-"]


def test_a_dead_connection_fails_the_pull_and_the_next_goes_on(store: WeightsStore, hub: FakeHub) -> None:
    hub.cut_after["model.safetensors"] = [300_000, 0, 0, 0]
    assert "pull again" in refusal(store)
    pull(store)
    assert hub.ranges("model.safetensors")[-1] == "bytes=300000-"
    store.verify(spec_of())


def test_corrupt_bytes_never_reach_the_cache_and_a_new_pull_recovers(
    store: WeightsStore, hub: FakeHub, cache: Path
) -> None:
    hub.corrupt.add("model.safetensors")
    assert "model.safetensors did not match its hash" in refusal(store)
    assert not list(cache.rglob(hub.blob("model.safetensors") + "*"))
    hub.corrupt.clear()
    pull(store)
    store.verify(spec_of())


def test_a_small_file_is_checked_by_its_git_hash(store: WeightsStore, hub: FakeHub) -> None:
    hub.corrupt.add("config.json")
    assert "config.json did not match its hash" in refusal(store)


@pytest.mark.parametrize("served", [WEIGHTS[:-5], WEIGHTS + b"12345"], ids=["short", "long"])
def test_a_wrong_size_is_refused(store: WeightsStore, hub: FakeHub, served: bytes) -> None:
    hub.served["model.safetensors"] = served
    assert "of its listed" in refusal(store)
    hub.served.clear()
    pull(store)


def test_damage_on_disk_is_found_and_repaired(store: WeightsStore, hub: FakeHub) -> None:
    pull(store)
    found = store.locate(spec_of())
    assert found is not None
    path = Path(found.files["model.safetensors"])
    path.write_bytes(b"x" + WEIGHTS[1:])
    with pytest.raises(PullFailed, match=r"model\.safetensors of tiny is damaged"):
        store.verify(spec_of())
    pull(store)
    store.verify(spec_of())
    path.write_bytes(WEIGHTS[1:])
    assert store.locate(spec_of()) is None


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ((401, "GatedRepo"), "HF_TOKEN"),
        ((403, "GatedRepo"), "HF_TOKEN"),
        ((403, ""), "HF_TOKEN"),
        ((401, "RepoNotFound"), "HF_TOKEN"),
        ((404, "EntryNotFound"), "no file named model.safetensors"),
        ((500, ""), "status 500"),
        ((418, ""), "status 418"),
    ],
)
def test_a_refused_file_says_what_to_do(
    store: WeightsStore, hub: FakeHub, status: tuple[int, str], says: str
) -> None:
    hub.status["model.safetensors"] = status
    assert says in refusal(store)


def test_a_refused_listing_says_what_to_do(store: WeightsStore, hub: FakeHub) -> None:
    assert "does not exist" in refusal(store, spec_of(repo="acme/none"))
    assert "no such revision" in refusal(store, spec_of(revision="c" * 40))
    assert "not the name of a repository" in refusal(store, spec_of(repo="a/b/c"))
    hub.status["list"] = (503, "")
    assert "status 503" in refusal(store)


def test_a_hub_that_is_not_there_is_named_as_such(tmp_path: Path, hub: FakeHub) -> None:
    url = hub.url
    hub.__exit__(None, None, None)
    assert "could not reach the model hub" in refusal(
        WeightsStore(tmp_path, hub=Hub(endpoint=url, cache=tmp_path))
    )


def test_nonsense_from_the_hub_is_an_error(
    store: WeightsStore, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "listing", lambda: {"id": REPO, "sha": COMMIT, "siblings": 3})
    assert "makes no sense" in refusal(store)
    monkeypatch.setattr(hub, "listing", lambda: {"id": REPO, "sha": "../../x", "siblings": []})
    assert "which commit" in refusal(store)


def test_files_without_hashes_are_not_fetched(store: WeightsStore, hub: FakeHub) -> None:
    hub.lists_hashes = False
    assert "no file that matches" in refusal(store)


def test_pickles_are_never_fetched(store: WeightsStore, hub: FakeHub) -> None:
    hub.files |= {"pytorch_model.bin": b"\x80", "sub/OLD.PT": b"\x80"}
    assert "can run code" in refusal(store, spec_of(files=("pytorch_model.bin",)))
    assert "can run code" in refusal(store, spec_of(files=("*.bin", "*.PT")))
    pull(store, spec_of(files=("*",)))
    found = store.locate(spec_of(files=("*",)))
    assert found is not None
    assert set(found.files) == set(FILES)


def test_the_tensor_file_of_ctranslate2_is_let_in_for_whisper_alone(
    store: WeightsStore, hub: FakeHub
) -> None:
    hub.files["model.bin"] = b"ct2"
    assert "can run code" in refusal(store, spec_of(files=("model.bin",)))
    pull(store, spec_of(files=("model.bin",), backend="whisper"))


@pytest.mark.parametrize(
    "name", ["../../evil.json", "/etc/evil.json", "a/../../evil.json", "c:evil.json", "a\\b.json"]
)
def test_unsafe_names_are_refused(store: WeightsStore, hub: FakeHub, name: str, tmp_path: Path) -> None:
    hub.files[name] = b"{}"
    assert "not safe" in refusal(store)
    assert not list(tmp_path.rglob("*evil*"))


def test_no_room_is_said_before_anything_is_fetched(
    store: WeightsStore, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda folder: 1000)
    need = checks.MARGIN_BYTES + sum(len(FILES[n]) for n in FILES if n != "README.md")
    assert refusal(store) == f"Not enough free disk space: the pull needs {need} bytes and 1000 are free."
    assert not hub.ranges("model.safetensors")


def test_a_disk_that_fills_is_named_and_what_came_is_kept(
    store: WeightsStore, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut_after["model.safetensors"] = [300_000]
    receive, n_calls = fetch._receive, 0

    def full_at_second_try(*args: object) -> None:
        nonlocal n_calls
        n_calls += b"model.safetensors" in repr(args[0]).encode()
        if n_calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/secret")
        receive(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fetch, "_receive", full_at_second_try)
    assert "disk became full" in refusal(store)
    monkeypatch.undo()
    pull(store)
    assert hub.ranges("model.safetensors")[-1] == "bytes=300000-"


def test_a_cancelled_pull_keeps_what_came(store: WeightsStore, hub: FakeHub) -> None:
    seen: list[PullProgress] = []
    looks = 0

    def is_cancelled() -> bool:
        nonlocal looks
        looks += bool(seen and seen[-1].file == "model.safetensors")
        return looks > 3  # asked once for each piece that arrives

    with pytest.raises(PullCancelled):
        store.pull(spec_of(), seen.append, is_cancelled)
    assert store.locate(spec_of()) is None
    pull(store)
    assert hub.ranges("model.safetensors")[-1].startswith("bytes=")
    store.verify(spec_of())


@pytest.mark.parametrize(
    "names", [("tiny", "tiny", "tiny"), ("tiny", "tiny-512", "tiny-256")], ids=["one", "three"]
)
def test_pulls_at_once_fetch_once(store: WeightsStore, hub: FakeHub, names: tuple[str, ...]) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: pull(store, spec_of(name=name)), names))
    assert hub.ranges("model.safetensors") == [""]
    for name in names:
        store.verify(spec_of(name=name))


def test_delete_frees_the_disk_but_not_what_another_model_uses(
    store: WeightsStore, cache: Path, hub: FakeHub
) -> None:
    one, two = spec_of(), spec_of(name="tiny-256", files=("*.safetensors",))
    assert store.delete(one) is False
    pull(store, one)
    pull(store, two)
    assert store.delete(one) is True
    assert store.locate(one) is None
    store.verify(two)
    assert not list(cache.rglob(hub.blob("config.json")))
    assert store.delete(two) is True
    assert not list(cache.rglob("*.safetensors"))
    assert not list(cache.rglob(hub.blob("model.safetensors")))
    assert store.delete(two) is False
    pull(store, one)


def test_delete_takes_the_leftovers_of_a_broken_pull(store: WeightsStore, cache: Path, hub: FakeHub) -> None:
    hub.cut_after["model.safetensors"] = [300_000, 0, 0, 0]
    refusal(store)
    assert list(cache.rglob("*.incomplete"))
    assert store.delete(spec_of()) is True
    assert not list(cache.rglob("*.incomplete"))


def test_delete_during_a_pull_leaves_it_alone(store: WeightsStore, hub: FakeHub) -> None:
    other = spec_of(name="tiny-config", files=("config.json",))
    pull(store, other)
    hub.stall = threading.Event()
    hub.cut_after["model.safetensors"] = [1000]
    thread = threading.Thread(target=pull, args=(store,))
    thread.start()
    assert hub.stalled.wait(10)
    with pytest.raises(InvalidRequest, match="being pulled"):
        store.delete(spec_of())
    with pytest.raises(InvalidRequest, match="being pulled"):
        store.delete(other)  # the running pull counts on its file
    hub.stall.set()
    thread.join()
    store.verify(spec_of())
    assert store.delete(other) is True
    store.verify(spec_of())


# --- in processes of their own: huggingface_hub reads the environment when it is first imported

_PULL = """
import sys, msgspec
from pathlib import Path
from turbov2.catalog.spec import ModelSpec
from turbov2.catalog.weights import WeightsStore
from turbov2.errors import PullFailed
assert "huggingface_hub" not in sys.modules
store = WeightsStore(Path(sys.argv[1]))
spec = msgspec.json.decode(sys.argv[2], type=ModelSpec)
try:
    print(store.pull(spec, lambda step: None).revision)
except PullFailed as error:
    print("FAILED " + error.message)
"""


def environment(hub: FakeHub, tmp_path: Path, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
    return clean | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")} | more


def command(tmp_path: Path, spec: ModelSpec) -> list[str]:
    return [sys.executable, "-c", _PULL, str(tmp_path / "home"), msgspec.json.encode(spec).decode()]


def pull_elsewhere(hub: FakeHub, tmp_path: Path, spec: ModelSpec | None = None, **more: str) -> str:
    done = subprocess.run(
        command(tmp_path, spec or spec_of()),
        env=environment(hub, tmp_path, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_environment_names_hub_token_and_cache(
    hub: FakeHub, tmp_path: Path, store: WeightsStore, cache: Path
) -> None:
    hub.token = "hf_secret"
    assert "HF_TOKEN" in pull_elsewhere(hub, tmp_path)
    assert pull_elsewhere(hub, tmp_path, HF_TOKEN="hf_secret") == COMMIT
    assert {one.token for one in hub.asked if one.path.startswith("/acme")} == {"", "hf_secret"}
    assert {one.token for one in hub.asked if one.path.startswith("/cdn")} == {""}
    # The hub's own tools find the files in the same cache, and what they fetched is ours too.
    assert (cache / "models--acme--tiny" / "snapshots" / COMMIT / "model.safetensors").read_bytes() == WEIGHTS
    n_before = len(hub.ranges("model.safetensors"))
    assert (
        pull_elsewhere(hub, tmp_path / "other", HF_HOME=str(tmp_path / "hf"), HF_TOKEN="hf_secret") == COMMIT
    )
    assert len(hub.ranges("model.safetensors")) == n_before
    # Offline, a model in the cache needs no hub at all; one that is not there says so.
    n_before = len(hub.asked)
    assert pull_elsewhere(hub, tmp_path / "third", HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1") == COMMIT
    assert pull_elsewhere(hub, tmp_path, HF_HUB_OFFLINE="1") == COMMIT
    said = pull_elsewhere(hub, tmp_path, spec_of(repo="acme/other"), HF_HUB_OFFLINE="1")
    assert said.startswith("FAILED acme/other is not on this machine and HF_HUB_OFFLINE")
    assert len(hub.asked) == n_before


def test_a_killed_pull_leaves_nothing_installed_and_the_next_completes(
    hub: FakeHub, tmp_path: Path, store: WeightsStore, cache: Path
) -> None:
    hub.stall = threading.Event()
    hub.cut_after["model.safetensors"] = [300_000]
    process = subprocess.Popen(command(tmp_path, spec_of()), env=environment(hub, tmp_path))
    assert hub.stalled.wait(60)
    partial = cache / "models--acme--tiny" / "blobs" / (hub.blob("model.safetensors") + ".turbov2.incomplete")
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.stall.set()
    assert store.locate(spec_of()) is None
    n_kept = partial.stat().st_size
    pull(store)
    assert hub.ranges("model.safetensors")[-1] == (f"bytes={n_kept}-" if n_kept else "")
    store.verify(spec_of())


def test_a_damaged_manifest_means_not_installed(store: WeightsStore, tmp_path: Path) -> None:
    pull(store)
    path = tmp_path / "home" / "models" / "tiny.json"
    whole = json.loads(path.read_text())
    for text in ("", "{", json.dumps(whole | {"format": 99}), json.dumps(whole | {"files": []})):
        path.write_text(text)
        assert store.locate(spec_of()) is None
    pull(store)
    assert store.locate(spec_of()) is not None
