"""Sound while it is decoded: bounded, killable, and gone from the disk whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.pictures import halves
from tests.support.pictures import packed as packed_picture
from tests.support.sounds import of_kind, packed, raw_wav, silent_opus, voice
from turbov2.errors import (
    BadMedia,
    DeadlineExceeded,
    DecoderCrashed,
    MediaTooLarge,
    NoStorage,
    NotSupported,
    QueueFull,
    Stopping,
    TurboError,
)
from turbov2.media import AudioFacts, AudioFile, Decoder, MediaLimits
from turbov2.media import messages as say
from turbov2.runners import frames
from turbov2.spools import Spools

pytestmark = pytest.mark.timeout(120)
needs_av = pytest.importorskip("av", reason="needs the extra audio")

SHORT = raw_wav(voice(2, 16_000).tobytes(), 16_000)
BUDGET = 1 << 30
LONG_S = 1200


@contextlib.asynccontextmanager
async def hearing(
    folder: Path, max_bytes: int = BUDGET, **options: object
) -> AsyncIterator[tuple[Decoder, Spools]]:
    spools = Spools(folder, max_bytes)
    options.setdefault("n_children", 1)
    decoder = Decoder(options.pop("limits", None), spools, **options)  # type: ignore[arg-type]
    try:
        yield decoder, spools
    finally:
        await decoder.close()
        assert decoder.pids == []
        await until(lambda: spools.n_bytes == 0)
        assert list(folder.iterdir()) == []


async def assert_well(decoder: Decoder) -> None:
    async with await decoder.audio(SHORT) as audio:
        assert (await audio.window(0, 32_000)).tobytes() == SHORT[44:]


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the kernel's facts set no event
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def open_files(pid: int) -> set[str]:
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}


@pytest.fixture(scope="module")
def long_file() -> bytes:
    return silent_opus(LONG_S)


async def begun(decoder: Decoder, file: bytes) -> tuple[AudioFile, int]:
    """Returns an audio file that is being decoded, and the child that does it."""
    audio = await decoder.audio(file)
    await audio.window(0, 1)
    assert not audio.is_done
    (pid,) = decoder.pids
    return audio, pid


# --- what comes


async def test_samples_come_in_windows_while_they_are_decoded(tmp_path: Path):
    sound = voice(90, 16_000)
    file = packed(sound, "flac", "flac", 16_000)
    async with hearing(tmp_path) as (decoder, _), await decoder.audio(file) as audio:
        assert (audio.facts.container, audio.facts.codec) == ("FLAC", "flac")
        assert (audio.facts.sample_rate_hz, audio.facts.n_channels) == (16_000, 1)
        assert audio.duration_s == 90
        windows = [await audio.window(start, 480_000) for start in range(0, 90 * 16_000, 480_000)]
        np.testing.assert_array_equal(np.concatenate(windows), sound[0])
        await audio.whole()
        assert audio.is_done
        assert (audio.duration_s, audio.n_samples_decoded) == (90, 90 * 16_000)
        assert (await audio.window(90 * 16_000 - 5, 100)).tolist() == sound[0, -5:].tolist()
        assert (await audio.window(91 * 16_000, 100)).tolist() == []
        assert audio.broken == ""


async def test_a_window_waits_until_it_is_there_for_everybody(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path) as (decoder, _), await decoder.audio(long_file) as audio:
        last = [asyncio.create_task(audio.window((LONG_S - 1) * 16_000, 16_000)) for _ in range(3)]
        left = asyncio.create_task(audio.window((LONG_S - 1) * 16_000, 16_000))
        assert len(await audio.window(0, 480_000)) == 480_000
        assert not any(task.done() for task in last)
        left.cancel()  # who waits no longer stops nothing
        assert [len(samples) for samples in await asyncio.gather(*last)] == [16_000 - 104] * 3
        assert audio.is_done


async def test_a_file_on_disk_may_be_closed_once_it_is_open(tmp_path: Path):
    path = tmp_path / "upload"
    path.write_bytes(SHORT)
    async with hearing(tmp_path / "spool") as (decoder, _):
        with path.open("rb") as file:
            file.seek(17)  # where the server reads it is its own affair
            audio = await decoder.audio(file)
            assert file.tell() == 17
        path.unlink()
        async with audio:
            assert (await audio.window(0, 32_000)).tobytes() == SHORT[44:]


async def test_a_child_is_used_again_and_keeps_no_file(tmp_path: Path):
    async with hearing(tmp_path) as (decoder, _):
        await assert_well(decoder)
        pids = decoder.pids
        with pytest.raises(BadMedia, match="plain text"):
            await decoder.audio(b"Some words.")
        with pytest.raises(BadMedia, match="0 bytes"):
            await decoder.audio(b"")
        async with await decoder.audio(of_kind("mp3", 2)[:9000]) as cut:
            with pytest.raises(BadMedia, match="breaks off"):
                await cut.window(0, 100)
        await decoder.image(packed_picture(halves(), "PNG"))
        await assert_well(decoder)
        assert decoder.pids == pids
        await until(lambda: not any(str(tmp_path) in target for target in open_files(*pids)))
        assert all(target.startswith(("socket:", "pipe:", "/dev/null")) for target in open_files(*pids))
        assert psutil.Process(*pids).rlimit(psutil.RLIMIT_FSIZE) == (0, 0)


async def test_sound_does_not_hold_up_images(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path) as (decoder, _):
        audio, _ = await begun(decoder, long_file)
        waiting = asyncio.create_task(decoder.audio(SHORT))
        image = await decoder.image(packed_picture(halves(), "PNG"))
        assert image.pixels.size
        assert not audio.is_done
        assert not waiting.done()
        await audio.close()
        await (await waiting).close()


# --- files that are not whole


async def test_a_cut_file_is_refused_before_any_of_it_is_used(tmp_path: Path):
    whole = packed(voice(120, 16_000), "flac", "flac", 16_000)
    cut_wav = raw_wav(voice(100, 16_000).tobytes(), 16_000, claimed_bytes=4_000_000)
    async with hearing(tmp_path) as (decoder, _):
        async with await decoder.audio(cut_wav) as audio:
            with pytest.raises(
                BadMedia, match=r"the WAV is cut short: it breaks off after 100\.0 s; send the whole"
            ):
                await audio.window(0, 16_000)
            with pytest.raises(BadMedia):
                await audio.whole()
        async with await decoder.audio(whole[: len(whole) // 2]) as audio:
            with pytest.raises(BadMedia, match="the FLAC is cut short"):
                await audio.whole()
            with pytest.raises(BadMedia, match="the FLAC is cut short"):
                await audio.window(0, 10)


async def test_a_cut_file_is_taken_in_part_where_that_is_wanted(tmp_path: Path):
    sound = voice(100, 16_000)
    file = raw_wav(sound.tobytes(), 16_000, claimed_bytes=4_000_000)
    async with hearing(tmp_path) as (decoder, _), await decoder.audio(file, keeps_partial=True) as audio:
        np.testing.assert_array_equal(await audio.window(0, 10**9), sound[0])
        assert audio.is_done
        assert (audio.duration_s, audio.broken[:37]) == (100, "the WAV is cut short: it breaks off a")


async def test_limits_hold_while_it_is_decoded(tmp_path: Path, long_file: bytes):
    limits = MediaLimits(max_audio_s=600.0, max_audio_bytes=7_000_000)
    async with hearing(tmp_path, limits=limits) as (decoder, spools):
        with pytest.raises(MediaTooLarge, match="longer than 600 s"):
            await decoder.audio(long_file)
        aac = of_kind("aac", 5) * 130  # nothing in it says how long it is
        async with await decoder.audio(aac) as audio:
            with pytest.raises(MediaTooLarge, match="longer than 600 s"):
                await audio.whole()
            assert spools.n_bytes <= 600 * 32_000
        with pytest.raises(MediaTooLarge, match="the limit is 7000000"):
            await decoder.audio(bytes(7_000_001))
        await assert_well(decoder)


# --- the disk


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path):
    file = silent_opus(600)
    async with hearing(tmp_path) as (decoder, spools):
        await assert_well(decoder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, hard))
        try:
            async with await decoder.audio(file) as audio:
                with pytest.raises(NoStorage, match="disk is full") as raised:
                    await audio.whole()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert raised.value.status == 507
        await until(lambda: spools.n_bytes == 0)
        await assert_well(decoder)


async def test_all_audio_files_share_a_budget_of_disk(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path, max_bytes=20 << 20) as (decoder, spools):
        async with await decoder.audio(long_file) as audio:
            with pytest.raises(MediaTooLarge, match=f"more than {20 << 20} bytes of disk"):
                await audio.whole()
        with spools.open() as other:
            other.append(bytes(19 << 20))
            with pytest.raises(QueueFull):
                async with await decoder.audio(silent_opus(600)) as audio:
                    await audio.whole()
        await assert_well(decoder)


async def most_memory(decoder: Decoder, file: bytes, seconds: int) -> np.ndarray:
    """Returns what this process and the child took at most while they went through the file."""
    seen = []
    async with await decoder.audio(file) as audio:
        for start in range(0, seconds * 16_000, 60 * 16_000):
            await audio.window(start, 30 * 16_000)
            seen.append([psutil.Process(pid).memory_info().rss for pid in (os.getpid(), *decoder.pids)])
        await audio.whole()
        assert audio.duration_s == pytest.approx(seconds, abs=0.1)
    return np.max(seen, axis=0)


@pytest.mark.timeout(300)
async def test_three_hours_take_no_more_memory_than_twenty_minutes(tmp_path: Path, long_file: bytes):
    file = silent_opus(3 * 3600)
    assert len(file) < 1_000_000
    async with hearing(tmp_path) as (decoder, _):
        before = await most_memory(decoder, long_file, LONG_S)
        grown = await most_memory(decoder, file, 3 * 3600) - before
        assert grown.max() < 8 << 20  # of 345 MB of samples


# --- the end of a child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_child_that_dies_fails_its_own_file_only(
    tmp_path: Path, long_file: bytes, number: signal.Signals
):
    async with hearing(tmp_path, n_children=2) as (decoder, _):
        audio, pid = await begun(decoder, long_file)
        waiting = asyncio.create_task(audio.window((LONG_S - 1) * 16_000, 10))
        await asyncio.sleep(0)
        os.kill(pid, number)
        with pytest.raises(DecoderCrashed, match=f"signal {number.value}"):
            await waiting
        with pytest.raises(DecoderCrashed):
            await audio.window(0, 10)
        await audio.close()
        await assert_well(decoder)
        assert pid not in decoder.pids


async def test_closing_frees_child_and_disk_at_once(tmp_path: Path, long_file: bytes):
    took_s = []
    async with hearing(tmp_path) as (decoder, spools):
        for _ in range(3):  # the best counts: other processes may hold any single one up
            audio, pid = await begun(decoder, long_file)
            started_s = time.monotonic()
            await audio.close()
            await until(lambda pid=pid: is_gone(pid) and spools.n_bytes == 0)  # type: ignore[misc]
            took_s.append(time.monotonic() - started_s)
            await until(lambda: not decoder.pids)
        await assert_well(decoder)
    assert min(took_s) < 0.2


async def test_a_cancelled_request_leaves_nothing_behind(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path) as (decoder, spools):

        async def use(n_windows: int) -> None:
            async with await decoder.audio(long_file) as audio:
                for index in range(n_windows):
                    await audio.window(16_000 * index, 16_000)
                await audio.window(10**9, 1)

        for wait_s in (0, 0.01, 0.03, 0.1, 0.3):  # all of it takes a second
            task = asyncio.create_task(use(3))
            await asyncio.sleep(wait_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: spools.n_bytes == 0)
        await assert_well(decoder)


async def test_who_waits_for_a_turn_may_leave(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path) as (decoder, _):
        audio, _ = await begun(decoder, long_file)
        waiting = [asyncio.create_task(decoder.audio(SHORT)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        await audio.close()
        await assert_well(decoder)


async def test_too_many_that_wait_are_refused_at_once(
    tmp_path: Path, long_file: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("turbov2.media.decoder._MAX_WAITING_SOUNDS", 2)
    async with hearing(tmp_path) as (decoder, _):
        audio, _ = await begun(decoder, long_file)
        waiting = [asyncio.create_task(decoder.audio(SHORT)) for _ in range(5)]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        await asyncio.wait(pending, timeout=0.2)
        refused = [task for task in waiting if task.done()]
        assert len(refused) == 3
        assert all(isinstance(task.exception(), QueueFull) for task in refused)
        await audio.close()
        for task in waiting:
            if task not in refused:
                await (await task).close()
        assert done


async def test_a_child_that_stands_still_is_ended(tmp_path: Path, long_file: bytes):
    async with hearing(tmp_path, limits=MediaLimits(timeout_s=1.0)) as (decoder, _):
        audio, pid = await begun(decoder, long_file)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DeadlineExceeded, match="more than 1 s, the limit"):
            await audio.whole()
        await audio.close()
        await until(lambda: is_gone(pid))
        await assert_well(decoder)


async def test_closing_the_decoder_answers_everybody(tmp_path: Path, long_file: bytes):
    decoder = Decoder(spools=Spools(tmp_path, BUDGET), n_children=1)
    audio, pid = await begun(decoder, long_file)
    waiting = asyncio.create_task(decoder.audio(SHORT))
    await asyncio.sleep(0.05)
    await decoder.close()
    with pytest.raises(Stopping):
        await audio.whole()
    with pytest.raises(Stopping):
        await waiting
    assert is_gone(pid)
    await audio.close()
    with pytest.raises(Stopping):
        await decoder.audio(SHORT)


# --- installations


def child_that_runs(folder: Path, code: str) -> str:
    """Returns an interpreter that runs this before it is a child, or instead."""
    fake = folder / "python"
    script = folder / "child.py"
    script.write_text(f"import sys\n{code}\n")
    fake.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} {script} "$@"\n')
    fake.chmod(0o700)
    return str(fake)


RUN = "from turbov2.media import worker; worker.main(sys.argv[1:])"


async def test_without_the_library_the_answer_names_the_install(tmp_path: Path):
    executable = child_that_runs(tmp_path, f"sys.modules['av'] = None; {RUN}")
    async with hearing(tmp_path / "spool", executable=executable) as (decoder, _):
        with pytest.raises(NotSupported, match=r"pip install 'deposium-embeddings-turbov2\[audio\]'"):
            await decoder.audio(SHORT)
        assert (await decoder.image(packed_picture(halves(), "PNG"))).pixels.size


async def test_sound_needs_no_library_of_images(tmp_path: Path):
    executable = child_that_runs(tmp_path, f"sys.modules['PIL'] = None; {RUN}")
    async with hearing(tmp_path / "spool", executable=executable) as (decoder, _):
        await assert_well(decoder)


NONSENSE = """
import numpy as np
from turbov2.media import messages as say
from turbov2.runners import frames
from turbov2.runners.entry import enter
requests, answers = enter("child", sys.argv[1:])
stream = requests.makefile("rb")
frames.receive_frame(stream, say.TO_CHILD)
frames.send_frame(answers, say.Hello(1))
frames.receive_frame(stream, say.TO_CHILD)
frames.send_frame(answers, say.AudioSamples(1), np.zeros(8, np.uint8))
frames.receive_frame(stream, say.TO_CHILD)
"""


async def test_a_child_that_answers_nonsense_is_ended(tmp_path: Path):
    executable = child_that_runs(tmp_path, NONSENSE)
    async with hearing(tmp_path / "spool", executable=executable) as (decoder, _):
        with pytest.raises(DecoderCrashed, match="nonsense"):
            await decoder.audio(SHORT)
        await until(lambda: not decoder.pids)


async def test_a_bug_of_ours_is_no_end_of_the_sound(tmp_path: Path):
    async def answers() -> AsyncGenerator[frames.Frame, None]:
        yield frames.Frame(say.AudioStart(0, AudioFacts("WAV", "pcm_s16le", 16_000, 1), 10.0, False))
        yield frames.Frame(say.AudioSamples(0), (np.zeros(32_000, np.uint8),))
        raise RuntimeError("a bug")

    async with AudioFile(answers(), Spools(tmp_path, BUDGET).open(), keeps_partial=False) as sound:
        with pytest.raises(TurboError, match="internal error"):
            await sound.window(0, 10 * 16_000)


async def test_a_decoder_without_a_folder_says_so():
    decoder = Decoder()
    with pytest.raises(NotSupported):
        await decoder.audio(SHORT)
    await decoder.close()


async def test_errors_tell_nothing_of_libraries_and_paths(tmp_path: Path):
    hostile = [
        b"",
        b"words",
        bytes(5000),
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"ID3\x04\0\0\0\0\0\x05" + bytes(900),
        b"OggS\0" * 99,
    ]
    async with hearing(tmp_path) as (decoder, _):
        for file in hostile:
            with pytest.raises(TurboError) as raised:
                async with await decoder.audio(file) as audio:
                    await audio.whole()
            assert raised.value.status in (400, 413, 415)
            for secret in ("0x", str(tmp_path), "site-packages", "av.", "Errno", "object at", "/"):
                assert secret not in raised.value.message
        await assert_well(decoder)
