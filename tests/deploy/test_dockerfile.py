"""The Dockerfile says what docs/deploy.md promises, and names only what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.support.deployment import PORT, ROOT, assert_parse, assert_settings, documented_routes, tool
from tests.support.dockerfile import Stage, chain, read_stages
from tests.support.server import MakeServer

DOCKERFILE = ROOT / "Dockerfile"


def image(target: str = "") -> list[Stage]:
    return chain(read_stages(DOCKERFILE), target)


def last(stages: list[Stage], name: str) -> str:
    found = [instruction for stage in stages for instruction in stage.all(name)]
    return found[-1].expanded()


def environment(stages: list[Stage]) -> dict[str, str]:
    return next(stage.instructions[-1].environment for stage in reversed(stages) if stage.instructions)


def health_command() -> list[str]:
    (check,) = [line for stage in image() for line in stage.all("HEALTHCHECK")]
    command = json.loads(check.text.removeprefix("CMD "))
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


def test_the_image_that_is_built_unasked_is_the_server_alone() -> None:
    assert [stage.name for stage in image()] == ["server", ""]
    assert [stage.name for stage in image("bitnet")] == ["server", "bitnet"]


def test_every_stage_starts_from_the_same_slim_python() -> None:
    stages = read_stages(DOCKERFILE)
    names = {stage.name for stage in stages}
    bases = {stage.base for stage in stages if stage.base not in names}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases.pop())


def test_it_runs_as_a_user_of_its_own_who_owns_the_volume_alone() -> None:
    stages = image()
    user = last(stages, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)  # a number, which runAsNonRoot of Kubernetes needs
    uid, _, gid = user.partition(":")
    (make,) = [run.text for stage in stages for run in stage.all("RUN")]
    assert f"--uid {uid} --gid {gid}" in make
    volume = last(stages, "WORKDIR")
    assert f"--owner {uid} --group {gid}" in make
    assert make.rstrip().endswith(volume)
    owned = environment(stages)
    assert all(owned[name].startswith(volume) for name in ("HOME", "TURBOV2_HOME", "HF_HOME"))
    assert not [line for stage in stages for line in stage.all("VOLUME")]  # Railway refuses it


@pytest.mark.parametrize("target", ["", "bitnet"])
def test_its_variables_are_settings_with_values_that_parse(target: str) -> None:
    values = environment(image(target))
    assert_settings(values)
    assert_parse(values)


def test_it_listens_where_the_original_did() -> None:
    assert last(image(), "EXPOSE") == environment(image())["PORT"] == str(PORT)


@pytest.mark.parametrize(("variant", "lock"), [("cuda", "cuda"), ("cpu", "serve")])
def test_each_variant_installs_from_a_lock_with_hashes(variant: str, lock: str) -> None:
    (build,) = [stage for stage in read_stages(DOCKERFILE) if stage.name == "build"]
    install = build.all("RUN")[1].text
    assert f"{variant}) list={lock} ;;" in install
    assert install.count("--require-hashes") == install.count("pip install")
    for name in (lock, "build"):
        assert all("--hash=sha256:" in block for block in requirements(name))


def requirements(name: str) -> list[str]:
    """Returns the lock's entries: a pinned version and its hashes each."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return re.findall(r"^\S+==.*(?:\n .*)*", text, re.MULTILINE)


def test_both_variants_lock_the_same_server() -> None:
    serve, cuda = ({block.splitlines()[0] for block in requirements(name)} for name in ("serve", "cuda"))
    assert len(serve) > 50
    assert serve <= cuda


def test_the_default_variant_is_the_one_for_gpus() -> None:
    (build,) = [stage for stage in read_stages(DOCKERFILE) if stage.name == "build"]
    assert build.all("ARG")[0].text == "VARIANT=cuda"


def test_the_builder_is_sent_what_it_copies_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    copies = [
        copy for stage in read_stages(DOCKERFILE) for copy in stage.all("COPY") if "from" not in copy.flags
    ]
    copied = {word for copy in copies for word in copy.words()[:-1]}
    assert "*" in lines
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)


def test_the_health_check_tells_a_server_that_is_ready(make_server: MakeServer) -> None:
    command = health_command()
    asked = re.search(r"'GET', '([^']+)'", command[-1])
    assert asked
    assert asked[1] in documented_routes()
    server = make_server()
    env = {"PORT": str(server.port)}
    assert subprocess.run(command, env=env, timeout=20).returncode == 0
    with_keys = make_server(env={"EMBEDDINGS_API_KEY": "a-key"})
    assert subprocess.run(command, env={"PORT": str(with_keys.port)}, timeout=20).returncode == 0
    server.terminate()
    server.wait()
    assert subprocess.run(command, env=env, timeout=20, stderr=subprocess.DEVNULL).returncode != 0


def test_a_linter_of_dockerfiles_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
