"""Bombs, cut files, killed children and cancelled requests: each harms only itself, at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image as Pillow

from tests.support.pdfs import pdf, stream
from tests.support.pictures import HEIGHT, WIDTH, gif, halves, packed, png_bomb
from turbov2.errors import (
    BadMedia,
    DeadlineExceeded,
    DecoderCrashed,
    InvalidRequest,
    MediaTooLarge,
    NotSupported,
    QueueFull,
    Stopping,
    TurboError,
    UnsupportedMedia,
)
from turbov2.media import Decoder, MediaLimits, View
from turbov2.media import messages as say

pytestmark = pytest.mark.timeout(60)

GOOD = packed(halves(), "PNG")
LINES = "".join(f"BT /F 10 Tf 50 {700 - 14 * n} Td (line {n} of some text) Tj ET\n" for n in range(9))
# Pages that are drawn for many seconds: hundreds of thousands of fills as large as the page.
SLOW = pdf("/X gs " + "0 0 600 780 re 1 1 598 778 re f* " * 400_000)


@contextlib.asynccontextmanager
async def decoding(**options: object) -> AsyncIterator[Decoder]:
    decoder = Decoder(**options)  # type: ignore[arg-type]
    try:
        yield decoder
    finally:
        await decoder.close()
        assert decoder.pids == []


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with decoding(n_children=1) as one:
        yield one
        await assert_well(one)


async def assert_well(decoder: Decoder) -> None:
    image = await decoder.image(GOOD)
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.pixels[0, 0].tolist() == [255, 0, 0]
    assert image.pixels[0, -1].tolist() == [0, 0, 255]


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the kernel's facts set no event
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def busy(decoder: Decoder, file: bytes = SLOW) -> tuple[asyncio.Task[object], int]:
    """Returns a request that takes long, and the child that computes for it."""
    task: asyncio.Task[object] = asyncio.create_task(decoder.image(file))
    await until(lambda: bool(decoder.pids))
    (pid,) = decoder.pids
    before_s = psutil.Process(pid).cpu_times().user
    await until(lambda: psutil.Process(pid).cpu_times().user > before_s + 0.3 or task.done())
    assert not task.done()
    return task, pid


# --- what is hostile


HOSTILE: dict[str, tuple[bytes, type[TurboError], str]] = {
    "bomb": (png_bomb(50_000, 50_000), MediaTooLarge, "2500000000 pixels"),
    "many frames": (gif(1000), MediaTooLarge, "more than 50 frames"),
    "many pages": (pdf(*[""] * 10_000), MediaTooLarge, "10000 pages, the limit is 2000"),
    "cut PNG": (packed(Pillow.effect_noise((300, 300), 99), "PNG")[:40_000], BadMedia, "cut short"),
    "cut JPEG": (packed(Pillow.effect_noise((300, 300), 99), "JPEG")[:10_000], BadMedia, "cut short"),
    "cut PDF": (pdf(LINES)[:600], BadMedia, "cut short"),
    "text": (b"Not a picture at all.\n", UnsupportedMedia, "plain text"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMedia, "SVG"),
    "nothing": (b"", BadMedia, "0 bytes"),
    "locked": (pdf(LINES, password="x"), BadMedia, "password"),
}


async def drawn_first_page(decoder: Decoder, file: bytes) -> object:
    return await decoder.render(await decoder.open(file), 0)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_files_are_refused_in_a_second_and_no_memory(decoder: Decoder, kind: str):
    file, error, words = HOSTILE[kind]
    await assert_well(decoder)
    (pid,) = decoder.pids
    ours, theirs = psutil.Process(), psutil.Process(pid)
    before = ours.memory_info().rss, theirs.memory_info().rss
    started_s = time.monotonic()
    for ask in (decoder.image, partial(drawn_first_page, decoder)):
        with pytest.raises(error, match=words) as raised:
            await ask(file)
        for secret in ("0x", "/usr", "site-packages", "PIL", "pdfium", "object at"):
            assert secret not in raised.value.message
    assert time.monotonic() - started_s < 2
    grown = ours.memory_info().rss - before[0], theirs.memory_info().rss - before[1]
    # PDFium itself, loaded when a PDF first comes, and pages' objects.
    assert max(grown) < (64 << 20)
    assert decoder.pids == [pid]


def flate_bomb(n_bytes: int) -> bytes:
    """Returns a PDF whose page unpacks to so many spaces."""
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(n_bytes >> 20)) + packer.flush()
    unpacked = stream(body, "/Filter /FlateDecode")
    return pdf("", objects=(unpacked,)).replace(b"/Contents 12 0 R", b"/Contents 10 0 R")


async def test_a_page_that_unpacks_to_more_than_the_memory_harms_nobody():
    limits = MediaLimits(max_pixels=1_000_000, max_bytes=8 << 20)
    async with decoding(limits=limits, n_children=1) as decoder:
        await assert_well(decoder)
        assert psutil.Process(*decoder.pids).rlimit(psutil.RLIMIT_AS) == (limits.address_space_bytes,) * 2
        with pytest.raises((MediaTooLarge, BadMedia, DecoderCrashed)):
            await decoder.image(flate_bomb(600 << 20))
        await assert_well(decoder)


async def test_too_many_bytes_never_reach_a_child():
    async with decoding(limits=MediaLimits(max_bytes=1000)) as decoder:
        with pytest.raises(MediaTooLarge, match="1001 bytes, the limit is 1000"):
            await decoder.image(bytes(1001))
        assert decoder.pids == []


async def test_a_large_picture_comes_back_whole():
    noise = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), np.uint8)
    file = packed(Pillow.fromarray(noise), "BMP")
    async with decoding(n_children=1) as decoder:
        assert (await decoder.image(file)).pixels.tobytes() == noise.tobytes()


# --- documents


async def test_a_document_is_read_page_by_page(decoder: Decoder):
    document = await decoder.open(pdf(*[f"BT /F 10 Tf 50 700 Td (page {n}) Tj ET" for n in range(5)]))
    assert (document.format, document.n_pages, document.is_encrypted) == ("PDF", 5, False)
    assert document.page_sizes.tolist() == [[612, 792]] * 5
    assert "payload" not in repr(document)
    for n in (3, 0, 4):
        assert (await decoder.page(document, n)).text == f"page {n}"
        assert (await decoder.render(document, n, View(dpi=36))).pixels.shape == (396, 306, 3)
    for n in (-1, 5):
        with pytest.raises(InvalidRequest, match="the document has 5"):
            await decoder.page(document, n)


async def test_documents_survive_each_other_images_and_their_child(decoder: Decoder):
    first = await decoder.open(pdf("BT /F 10 Tf 50 700 Td (first) Tj ET"))
    second = await decoder.open(pdf("BT /F 10 Tf 50 700 Td (second) Tj ET", password="p"), "p")
    for _ in range(2):
        assert (await decoder.page(first, 0)).text == "first"
        await assert_well(decoder)
        assert (await decoder.page(second, 0)).text == "second"
    (pid,) = decoder.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not decoder.pids)
    assert (await decoder.page(second, 0)).text == "second"
    with pytest.raises(BadMedia):
        await decoder.open(b"")
    assert (await decoder.page(second, 0)).text == "second"


async def test_pages_of_a_tiff_are_a_document(decoder: Decoder):
    pages = [Pillow.new("L", (10 + n, 20), n) for n in range(3)]
    document = await decoder.open(packed(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert document.page_sizes.tolist() == [[10, 20], [11, 20], [12, 20]]
    assert (await decoder.render(document, 2, View(mode="gray"))).pixels.tolist() == [[2] * 12] * 20
    assert (await decoder.page(document, 2)).soundness.verdict == "none"


async def test_a_pdf_goes_where_an_image_goes(decoder: Decoder):
    image = await decoder.image(pdf("0 0 612 792 re f", ""), View.letterbox(384, 512))
    assert (image.pixels.shape, image.n_frames, image.format) == ((512, 384), 2, "PDF")


# --- the end of a child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_child_that_dies_fails_its_own_request_only(number: signal.Signals):
    async with decoding(n_children=2) as decoder:
        task, pid = await busy(decoder)
        other = asyncio.create_task(decoder.image(GOOD))
        os.kill(pid, number)
        with pytest.raises(DecoderCrashed, match=f"signal {number.value}"):
            await task
        assert (await other).pixels.shape == (HEIGHT, WIDTH, 3)
        await assert_well(decoder)
        assert pid not in decoder.pids


async def test_a_child_killed_while_idle_is_nobodys_error(decoder: Decoder):
    await assert_well(decoder)
    (pid,) = decoder.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not decoder.pids)
    await assert_well(decoder)
    assert decoder.pids != [pid]


async def test_a_file_that_takes_too_long_is_given_up():
    async with decoding(limits=MediaLimits(timeout_s=0.5), n_children=1) as decoder:
        with contextlib.suppress(DeadlineExceeded):
            await decoder.image(GOOD)
        started_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="more than 0.5 s, the limit"):
            await decoder.image(SLOW)
        assert time.monotonic() - started_s < 5
        await assert_well(decoder)


async def test_a_cancelled_request_frees_its_child(decoder: Decoder):
    took_s = []
    for _ in range(3):  # the best counts: other processes may hold any single one up
        task, pid = await busy(decoder)
        task.cancel()
        started_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(partial(is_gone, pid))
        took_s.append(time.monotonic() - started_s)
        await until(lambda: not decoder.pids)
    assert min(took_s) < 0.2


async def test_a_cancelled_short_request_keeps_its_child(decoder: Decoder):
    await assert_well(decoder)
    pids = decoder.pids
    for _ in range(20):
        task = asyncio.create_task(decoder.image(GOOD))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_well(decoder)
    assert decoder.pids == pids


async def test_a_request_cancelled_while_it_waits_takes_no_turn(decoder: Decoder):
    task, _ = await busy(decoder)
    waiting = [asyncio.create_task(decoder.image(GOOD)) for _ in range(3)]
    await asyncio.sleep(0)
    for each in (*waiting, task):
        each.cancel()
    outcomes = await asyncio.gather(*waiting, task, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_two_requests_at_once_have_a_child_each_and_more_wait():
    async with decoding(n_children=2) as decoder:
        images = await asyncio.gather(*(decoder.image(GOOD) for _ in range(20)))
        assert {image.pixels.shape for image in images} == {(HEIGHT, WIDTH, 3)}
        assert len(decoder.pids) == 2


async def test_too_much_that_waits_is_refused_at_once():
    async with decoding(limits=MediaLimits(max_bytes=len(GOOD)), n_children=1) as decoder:
        outcomes = await asyncio.gather(*(decoder.image(GOOD) for _ in range(9)), return_exceptions=True)
        full = [outcome for outcome in outcomes if isinstance(outcome, QueueFull)]
        assert len(full) == 4  # one is read, four wait
        assert full[0].retry_after_s
        await assert_well(decoder)


async def test_idle_children_end():
    async with decoding(n_children=2, idle_s=0.05) as decoder:
        await asyncio.gather(decoder.image(GOOD), decoder.image(GOOD))
        pids = decoder.pids
        await until(lambda: not decoder.pids)
        assert all(map(is_gone, pids))
        await assert_well(decoder)


async def test_old_children_are_replaced(monkeypatch: pytest.MonkeyPatch, decoder: Decoder):
    monkeypatch.setattr("turbov2.media.child._MAX_REQUESTS", 4)  # the first is the start
    seen = set()
    for _ in range(6):
        await assert_well(decoder)
        seen.update(decoder.pids)
    assert len(seen) >= 2


async def test_children_that_have_grown_are_replaced(monkeypatch: pytest.MonkeyPatch, decoder: Decoder):
    await assert_well(decoder)
    pids = decoder.pids
    monkeypatch.setattr("turbov2.media.child._MAX_GROWTH_BYTES", 1 << 20)
    await decoder.open(pdf(LINES))  # loads PDFium
    await until(lambda: decoder.pids != pids)


async def test_closing_answers_everybody():
    decoder = Decoder(n_children=1)
    task, pid = await busy(decoder)
    waiting = asyncio.create_task(decoder.image(GOOD))
    await asyncio.sleep(0)
    await decoder.close()
    for each in (task, waiting):
        with pytest.raises(Stopping):
            await each
    assert is_gone(pid)
    with pytest.raises(Stopping):
        await decoder.image(GOOD)


# --- what a child may


async def test_a_child_sees_nothing_of_ours(decoder: Decoder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "secret")
    monkeypatch.setenv("SOMETHING_ELSE", "secret")
    await assert_well(decoder)
    (pid,) = decoder.pids
    child = psutil.Process(pid)
    assert "secret" not in child.environ().values()
    assert os.getpgid(pid) == pid
    for limit in (psutil.RLIMIT_FSIZE, psutil.RLIMIT_CORE):
        assert child.rlimit(limit) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NOFILE)[1] <= 64
    inherited = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert all(target.startswith(("socket:", "pipe:", "/dev/null")) for target in inherited), inherited


PROBE = """
import os, socket, subprocess, sys, tempfile
from turbov2.media import MediaLimits
from turbov2.media.sandbox import confine
confine(MediaLimits())
def works(what):
    try:
        what()
    except (OSError, MemoryError):
        return False
    return True
def write():
    with open(sys.argv[1], "w") as file:
        file.write("x")
attempts = [
    socket.socket, lambda: subprocess.run(["true"]), lambda: os.execv("/bin/true", ["true"]), write,
    lambda: os.kill(os.getppid(), 0), lambda: bytearray(1 << 34),
]
print(*(works(attempt) for attempt in attempts))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="filters of system calls are Linux's")
async def test_a_child_can_do_little(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROBE, str(tmp_path / "file"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.split() == [b"False"] * 6


PARENT = """
import asyncio
from tests.support.pictures import halves, packed
from turbov2.media import Decoder

async def main():
    decoder = Decoder()
    await decoder.image(packed(halves(), "PNG"))
    print(*decoder.pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_children_die_with_a_killed_server():
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    parent.kill()
    await parent.wait()
    await until(lambda: is_gone(pid))


async def test_without_the_libraries_the_answer_names_the_install(tmp_path: Path):
    fake = tmp_path / "python"
    blocked = "import sys; sys.modules['PIL'] = None; "
    run = "from turbov2.media import worker; worker.main(sys.argv[4:])"  # behind -P -m MODULE
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{blocked}{run}" "$@"\n')
    fake.chmod(0o700)
    async with decoding(n_children=1, executable=str(fake)) as decoder:
        with pytest.raises(NotSupported, match=r"pip install 'deposium-embeddings-turbov2\[documents\]'"):
            await decoder.image(GOOD)


async def test_a_server_reads_files_without_loading_the_libraries():
    code = "import sys, turbov2.media; print(*(name in sys.modules for name in ('PIL', 'pypdfium2', 'av')))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.split() == [b"False"] * 3


def test_an_error_keeps_its_class_and_fields():
    error = BadMedia("locked", param="password")
    again = say.error_of(say.failure(error, 1))
    assert type(again) is BadMedia
    assert again.to_fields() == error.to_fields()
