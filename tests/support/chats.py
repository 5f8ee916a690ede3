"""What tests of the chat APIs share: models that write, images in base64, and a client that leaves."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.pictures import packed, png_bomb
from tests.support.server import RunningServer, fake_model, leases, until

EYES, WORDS, SLOW, DEADLY, AGENT, SHORT = "eyes", "words", "slow-eyes", "deadly-eyes", "agent", "short"
WORD_S = 0.05
MAX_IMAGES = 4
LONG = " ".join(f"w{number}" for number in range(400))
ODD = "über 機械学習 🙂🏽 e\u0301 👩‍👩‍👧 'q\"\\ \u200d"  # words, as the fake model writes them


def chat_server(folder: Path, **env: str) -> RunningServer:
    """Returns a server with a model that sees, one that reads text alone, a slow one and one that dies.

    Another sees, thinks, calls tools and keeps the last prompt's beginning; one has a context of 8 words.
    """
    models = [
        fake_model(EYES, folder, capability="vision", is_writer=True, fail_on="FAIL"),
        fake_model(WORDS, folder, capability="generate", is_writer=True),
        fake_model(
            SLOW, folder, capability="vision", runner="process", is_writer=True, delay_s_per_token=WORD_S
        ),
        fake_model(DEADLY, folder, capability="vision", runner="process", is_writer=True, crash_on="CRASH"),
        fake_model(
            AGENT,
            folder,
            capability="vision",
            is_writer=True,
            thinks=True,
            calls_tools=True,
            keeps_prefix=True,
        ),
        fake_model(SHORT, folder, capability="generate", is_writer=True, max_tokens=8),
        fake_model("embedder", folder),
    ]
    models = [table.replace("dimensions = 8\n", "").replace('"inline"', '"thread"') for table in models[:-1]]
    return RunningServer(folder, models="\n".join(models), env={"TURBOV2_MAX_IMAGES": str(MAX_IMAGES), **env})


def png(width: int = 40, height: int = 30) -> bytes:
    return packed(Image.new("RGB", (width, height), (200, 10, 10)), "PNG")


def on_its_side(width: int = 40, height: int = 30) -> bytes:
    """Returns a JPEG that stands, because its EXIF orientation says so: `height` wide."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return packed(Image.new("RGB", (width, height)), "JPEG", exif=exif)


def b64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def uri(payload: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64(payload)}"


# A file that is no image, what its error says, and so quickly that nothing of it was unfolded.
BAD_IMAGES: list[tuple[bytes, str]] = [
    (png_bomb(60_000, 60_000), "pixels"),
    (b"just a text", "is not read here"),
    (png()[:40], "cut short"),
]
BAD_IMAGE_S = 2.0


def leave_midway(server: RunningServer, path: str, body: dict[str, Any]) -> None:
    """Asks the slow model for a long answer, leaves after the first bytes, and sees the model free."""
    with server.http.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        next(answer.iter_bytes())
        assert leases(server, SLOW) == 1
    left_s = time.perf_counter()
    until(lambda: leases(server, SLOW) == 0, deadline_s=2)
    assert time.perf_counter() - left_s < 2


@contextlib.contextmanager
def keeping_busy(server: RunningServer, model: str, n_words: int = 1000) -> Iterator[None]:
    """Inside, the model writes an answer of so many words to somebody else, unless that is done before."""
    messages = [{"role": "user", "content": "w " * n_words}]
    body = {"model": model, "messages": messages, "stream": True}
    with server.http.stream("POST", "/api/chat", json=body) as answer:
        pieces = answer.iter_bytes()  # which closes the connection when nobody holds it
        next(pieces)
        yield
