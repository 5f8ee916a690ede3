"""Unnamed files: what is written is read, within the budget, and nothing is left."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from turbov2.errors import MediaTooLarge, NoStorage, QueueFull
from turbov2.spools import Spool, Spools


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    spools = Spools(tmp_path / "home" / "spool", 1000)
    yield spools
    assert spools.n_bytes == 0
    assert os.listdir(tmp_path / "home" / "spool") == []


def test_what_was_written_is_read_anywhere(spools: Spools):
    with spools.open() as spool:
        for piece in (b"abc", bytearray(b"def"), memoryview(b"ghi"), b""):
            spool.append(piece)
        assert (spool.n_bytes, spools.n_bytes) == (9, 9)
        assert spool.read(0, 9).tobytes() == b"abcdefghi"
        assert spool.read(4, 2).tobytes() == b"ef"
        assert spool.read(7, 100).tobytes() == b"hi"
        assert spool.read(9, 1).size == 0
        assert spool.read(50, 1).size == 0
        assert os.pread(spool.fileno(), 3, 3) == b"def"


def test_there_is_no_name_to_find_it_by(spools: Spools, tmp_path: Path):
    with spools.open() as spool:
        spool.append(b"secret")
        assert os.listdir(tmp_path / "home" / "spool") == []
        assert os.fstat(spool.fileno()).st_mode & 0o777 == 0o600
    assert (tmp_path / "home" / "spool").stat().st_mode & 0o777 == 0o700


def test_all_together_have_a_budget(spools: Spools):
    with spools.open() as first, spools.open() as second:
        first.append(bytes(600))
        with pytest.raises(QueueFull, match=r"600 bytes .* the limit is 1000") as full:
            second.append(bytes(401))
        assert full.value.retry_after_s
        second.append(bytes(400))
        with pytest.raises(MediaTooLarge, match="more than 1000 bytes"):
            first.append(bytes(401))
        first.close()
        second.append(bytes(600))


def test_one_that_nobody_closed_is_freed(spools: Spools):
    spools.open().append(bytes(1000))
    with spools.open() as spool:
        spool.append(bytes(1000))


def test_a_full_disk_is_told_as_such(spools: Spools):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with spools.open() as spool:
        spool.append(bytes(10))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(NoStorage, match="disk is full") as raised:
                spool.append(bytes(500))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert raised.value.status == 507
        assert raised.value.retry_after_s
        assert spool.read(0, 10).tobytes() == bytes(10)


def test_a_folder_that_cannot_be_written_is_told_without_its_name(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NoStorage, match="cannot keep the file") as raised:
        Spools(tmp_path / "file" / "spool", 1000).open()
    assert str(tmp_path) not in raised.value.message


def test_closing_waits_for_nobody_and_pulls_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spools = Spools(tmp_path, 1000)
    spool = spools.open()
    is_writing, may_write = threading.Event(), threading.Event()
    pwrite = os.pwrite

    def slow_pwrite(*arguments: object) -> int:
        is_writing.set()
        assert may_write.wait(10)
        return pwrite(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    writer = threading.Thread(target=spool.append, args=(b"abc",))
    writer.start()
    assert is_writing.wait(10)
    spool.close()
    os.fstat(spool.fileno())  # still open
    may_write.set()
    writer.join(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(spool.fileno())
    assert spools.n_bytes == 0
    for use in (lambda: spool.append(b"x"), lambda: spool.read(0, 1)):
        with pytest.raises(ValueError, match="closed"):
            use()
    spool.close()


def test_a_spool_is_closed_once(spools: Spools):
    spool: Spool = spools.open()
    spool.append(b"abc")
    spool.close()
    spool.close()
    assert spools.n_bytes == 0
