"""What is remembered of models that were loaded before."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from turbov2.residency import Footprints
from turbov2.residency import footprints as module


def test_an_estimate_gets_a_margin_and_a_measurement_none() -> None:
    footprints = Footprints(None)
    assert footprints.need("a", {"host": 1000, "cuda:0": 7}) == {"host": 1150, "cuda:0": 8}
    assert not footprints.is_measured("a")
    footprints.loaded("a", {"host": 400}, 1.0)
    assert footprints.is_measured("a")
    assert footprints.need("a", {"host": 1000}) == {"host": 400}


def test_the_largest_of_the_last_three_loads_counts() -> None:
    footprints = Footprints(None)
    needs = []
    for n_bytes in (900, 100, 200, 150, 50):
        footprints.loaded("a", {"host": n_bytes}, 1.0)
        needs.append(footprints.need("a", {})["host"])
    assert needs == [900, 900, 900, 200, 200]
    footprints.grown("a", {"host": 60, "cuda:0": 5})
    assert footprints.need("a", {}) == {"host": 200, "cuda:0": 5}
    footprints.grown("a", {"host": 250})
    assert footprints.need("a", {})["host"] == 250


def test_durations_are_moving_averages() -> None:
    footprints = Footprints(None)
    for load_s in (10.0, 20.0, 20.0):
        footprints.loaded("a", {}, load_s)
        footprints.unloaded("a", load_s / 10)
    known = footprints.of("a")
    assert known is not None
    assert known.n_loads == 3
    assert known.load_s == pytest.approx(10 + 3 + 0.3 * 7)
    assert known.unload_s == pytest.approx(1 + 0.3 + 0.3 * 0.7)


def test_what_was_never_loaded_is_not_remembered() -> None:
    footprints = Footprints(None)
    footprints.grown("a", {"host": 1})
    footprints.peaked("a", {"host": 1})
    footprints.unloaded("a", 1.0)
    assert footprints.of("a") is None


def test_the_thousand_last_loaded_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "N_KEYS", 3)
    footprints = Footprints(None)
    for key in "abcad":
        footprints.loaded(key, {"host": 1}, 1.0)
    assert [key for key in "abcd" if footprints.is_measured(key)] == ["a", "c", "d"]


def test_it_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "footprints.json"
    footprints = Footprints(path)
    footprints.loaded("a", {"host": 5, "cuda:0": 6}, 2.5)
    footprints.peaked("a", {"cuda:0": 3})
    asyncio.run(footprints.save())
    again = Footprints(path).of("a")
    assert again == footprints.of("a")
    assert again is not None
    assert again.peak == {"cuda:0": 3}
    assert [each.name for each in path.parent.iterdir()] == ["footprints.json"]
    written_ns = path.stat().st_mtime_ns
    asyncio.run(footprints.save())
    assert path.stat().st_mtime_ns == written_ns, "nothing new, nothing written"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"a": 3}', b"\xff\xfe", b'{"a": {"loads": "x"}}', b'{"a": {"n_loads": -1.5}}'],
)
def test_a_corrupt_file_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    path = tmp_path / "footprints.json"
    path.write_bytes(body)
    footprints = Footprints(path)
    assert footprints.need("a", {"host": 100}) == {"host": 115}
    assert len(caplog.records) == 1
    footprints.loaded("a", {"host": 5}, 1.0)
    asyncio.run(footprints.save())
    assert Footprints(path).need("a", {}) == {"host": 5}
    assert len(caplog.records) == 1


def test_a_file_from_a_load_that_was_never_measured(tmp_path: Path) -> None:
    path = tmp_path / "footprints.json"
    path.write_bytes(b'{"a": {"n_loads": 1}}')
    footprints = Footprints(path)
    footprints.grown("a", {"host": 3})
    assert footprints.need("a", {"host": 100}) == {"host": 115}


def test_a_place_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    footprints = Footprints(tmp_path / "file" / "footprints.json")
    for n_bytes in (5, 6):
        footprints.loaded("a", {"host": n_bytes}, 1.0)
        asyncio.run(footprints.save())
    assert footprints.need("a", {}) == {"host": 6}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "footprints.json"
    footprints = Footprints(path)
    footprints.loaded("a", {"host": 5}, 1.0)
    asyncio.run(footprints.save())

    def write_half(self: Path, body: bytes) -> None:
        with self.open("wb") as file:
            file.write(body[: len(body) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    footprints.loaded("b", {"host": 6}, 1.0)
    asyncio.run(footprints.save())
    assert Footprints(path).need("a", {}) == {"host": 5}
    assert [each.name for each in tmp_path.iterdir()] == ["footprints.json"]
    assert "No space left" in footprints_message(caplog)


def footprints_message(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    return record.getMessage()
