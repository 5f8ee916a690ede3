"""A Dockerfile's own steps, carried out in a folder instead of by a container engine.

What an engine does is done with the kernel's means that it uses itself: a root folder for each stage, new
namespaces, and for the server a root that is read-only, no capabilities, and a network without a way out. The
base image is stood in for by a folder that debootstrap made of the same release of Debian.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.dockerfile import Instruction, Stage, chain
from tests.support.server import until

# How this machine reaches a package index, which an engine would know from its own configuration.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")
_NETWORK_VARIABLES = ("PIP_CERT", "PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_BUILD_S = 3000
_ISOLATE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


class Images:
    """Stages as folders under `folder`, each made of its base's by its own instructions."""

    def __init__(self, context: Path, base: Path, folder: Path, stages: Sequence[Stage]) -> None:
        self._context = context
        self._base = base
        self._folder = folder
        self._stages = stages

    def root(self, name: str) -> Path:
        """Returns where a stage's files are, or will be."""
        return self._folder / (name or "last")

    def build(self, name: str) -> None:
        """Afterwards the stage is built, and those that it needs. Raises: AssertionError with what failed."""
        (stage,) = [stage for stage in self._stages if stage.name == name]
        named = {stage.name for stage in self._stages}
        needed = [copy.flags["from"] for copy in stage.all("COPY") if "from" in copy.flags]
        for other in [*needed, *([stage.base] if stage.base in named else [])]:
            if not self.root(other).exists():
                self.build(other)
        self._start_from(self.root(stage.base) if stage.base in named else self._base, self.root(name))
        here, user = "/", ""
        for step in stage.instructions:
            here = step.expanded() if step.name == "WORKDIR" else here
            user = step.expanded() if step.name == "USER" else user
            self._carry_out(step, self.root(name), here, user)

    def _start_from(self, base: Path, root: Path) -> None:
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(root)], check=True)
        python = root / "usr" / "local" / "bin" / "python"  # where the official images have it
        if not python.exists():
            python.symlink_to("/usr/bin/python3")

    def _carry_out(self, step: Instruction, root: Path, here: str, user: str) -> None:
        if step.name == "WORKDIR":
            (root / here.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            source = self.root(step.flags["from"]) if "from" in step.flags else self._context
            *names, target = step.words()
            _copy([source / name.lstrip("/") for name in names], root / here.lstrip("/"), target, root)
        elif step.name == "RUN":
            _run(step, root, here, user)


def _copy(sources: Sequence[Path], here: Path, target: str, root: Path) -> None:
    """A folder's content goes into the target, a file into it or in its place."""
    goal = root / target.lstrip("/") if target.startswith("/") else here / target
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, goal, symlinks=True, dirs_exist_ok=True)
        else:
            goal.mkdir(parents=True, exist_ok=True) if target.endswith("/") else None
            shutil.copy2(source, goal)


def _run(step: Instruction, root: Path, here: str, user: str) -> None:
    mounts = [f"touch {root}{path}; mount --bind {path} {root}{path}" for path in _NETWORK_FILES]
    outside = {name: os.environ[name] for name in _NETWORK_VARIABLES if name in os.environ}
    environment = {"HOME": "/nonexistent"} | outside | step.environment
    script = "\n".join(
        [
            "set -e",
            "mount --make-rprivate /",
            *mounts,
            f"mount --rbind /dev {root}/dev; mount -t proc proc {root}/proc",
            'exec "$@"',
        ]
    )
    as_user = [f"--userspec={user}"] if user else []
    variables = [f"{name}={value}" for name, value in environment.items()]
    inside = [
        "chroot",
        *as_user,
        str(root),
        "env",
        "-i",
        f"--chdir={here}",
        *variables,
        "sh",
        "-c",
        step.text,
    ]
    done = subprocess.run(
        [*_ISOLATE, "sh", "-c", script, "sh", *inside], capture_output=True, text=True, timeout=_BUILD_S
    )
    assert done.returncode == 0, f"RUN {step.text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


class Container:
    """A running image: its first process, and others beside it as `docker exec` starts them."""

    def __init__(
        self, process: subprocess.Popen[bytes], root: Path, user: str, environment: Mapping[str, str]
    ) -> None:
        self.process = process
        self._root = root
        self._user = user
        self._environment = environment

    @property
    def pid(self) -> int:
        """The number of its first process outside."""
        return psutil.Process(self.process.pid).children()[0].pid

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Returns how a program in the image ended, run as its user."""
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net"]
        inside = ["chroot", f"--userspec={self._user}", str(self._root), "env", "-i", *variables, *command]
        return subprocess.run([*enter, *inside], capture_output=True, text=True, timeout=60)

    def curl(self, *arguments: str) -> str:
        """Returns what curl of this machine gets from inside the image's network."""
        command = ["nsenter", f"--target={self.pid}", "--net", "curl", "--silent", "--show-error", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running(images: Images, stages: list[Stage], volume: Path) -> Iterator[Container]:
    """Inside, the image runs as `docker run --read-only --tmpfs /tmp --cap-drop ALL` would run it."""
    own = chain(stages)
    root = images.root(own[0].name)
    steps = [step for stage in own for step in stage.instructions]
    last = {step.name: step for step in steps}
    environment = steps[-1].environment
    user = last["USER"].expanded()
    uid, _, gid = user.partition(":")
    place = f"{root}{last['VOLUME'].expanded()}"
    subprocess.run(["cp", "--archive", place, str(volume)], check=True)  # as an engine fills a new volume
    script = f"""set -e
mount --make-rprivate /
mount --bind {root} {root}
mount --bind {volume} {place}
mount -t tmpfs -o nosuid,nodev,noexec tmpfs {root}/tmp
mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc
mount -o remount,bind,ro {root}
ip link set lo up
exec "$@"
"""
    variables = [f"{name}={value}" for name, value in environment.items()]
    drop = [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ]
    words = [*json.loads(last["ENTRYPOINT"].text), *json.loads(last["CMD"].text)]
    where = f"--chdir={last['WORKDIR'].expanded()}"
    inside = ["chroot", str(root), *drop, "env", "-i", where, *variables, *words]
    log = volume.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*_ISOLATE, "--net", "sh", "-c", script, "sh", *inside], stdout=out, stderr=out
        )
    try:
        container = Container(process, root, user, environment)
        check = json.loads(last["HEALTHCHECK"].text.removeprefix("CMD "))

        def is_healthy() -> bool:
            assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
            return bool(psutil.Process(process.pid).children()) and container.execute(*check).returncode == 0

        until(is_healthy, 60)
        yield container
    finally:
        process.kill()
        process.wait()
