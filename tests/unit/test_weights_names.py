"""Names that others choose: as folders of ours, as paths inside a model."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turbov2.catalog.weights.checks import is_refused, is_safe_path, safe_name, select
from turbov2.errors import PullFailed

# Long, short, hostile: plain text seldom meets a separator, so the separators are drawn for themselves too.
_text = (
    st.text(max_size=300)
    | st.text(alphabet="./\\%:~aA\0", max_size=12)
    | st.from_regex(r"[a-z.]{1,8}\.(json|lock)")
)


@given(_text)
@example("..")
@example("")
@example("/etc/passwd")
@example("a/../../b")
@example("C:\\x")
@example("con.txt")
@example("x" * 5000)
@example("\ud800")
def test_a_safe_name_is_one_plain_visible_folder_inside_home(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[a-z0-9._%-]{1,120}", safe)
    assert not safe.startswith(".")
    assert not safe.endswith(".")
    home = Path("/home/models")
    assert (home / safe).resolve().parent == home
    assert PureWindowsPath("c:/home", safe).parent == PureWindowsPath("c:/home")
    assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", safe)


@given(_text, _text)
@example("a", "A")
@example("a", "a.json")
@example("a/b", "a%2fb")
@example("x" * 500, "x" * 501)
def test_no_two_names_share_a_path(one: str, other: str) -> None:
    suffixes = ("", ".json", ".lock", ".partial", ".json.tmp")
    if one != other:
        assert not {safe_name(one) + end for end in suffixes} & {safe_name(other) + end for end in suffixes}


def test_usual_names_stay_readable() -> None:
    assert safe_name("qwen3-embed_0.6b") == "qwen3-embed_0.6b"
    assert safe_name("turbov2:latest") == "turbov2%3alatest"


@given(_text)
@example("a/./b")
@example("a//b")
@example("/a")
@example("nul\0l")
def test_a_safe_path_stays_inside_any_folder(name: str) -> None:
    if is_safe_path(name):
        assert Path("/top/model", name).resolve().is_relative_to("/top/model")
        assert not PurePosixPath(name).is_absolute()
        assert not PureWindowsPath(name).drive
        assert ".." not in PureWindowsPath(name).parts


@pytest.mark.parametrize(
    "name", ["model.safetensors", "1_Pooling/config.json", "onnx/model.onnx", "a b.txt", "ünï.json"]
)
def test_usual_paths_are_safe(name: str) -> None:
    assert is_safe_path(name)


@pytest.mark.parametrize(
    "name", ["a.pt", "A.PTH", "x/y.Pickle", "m.bin", "w.npz", "h.h5", "c.ckpt", "model.bin.pkl"]
)
def test_formats_that_run_code_are_refused(name: str) -> None:
    assert is_refused(name, "onnx")
    assert is_refused(name, "whisper")


def test_only_the_whisper_backend_reads_its_model_bin() -> None:
    assert not is_refused("sub/model.bin", "whisper")
    assert is_refused("model.bin", "onnx")
    assert is_refused("pytorch_model.bin", "whisper")


def test_a_file_asked_for_by_name_must_be_there() -> None:
    assert select(["a.json", "b.json"], ["a.json"], "onnx") == ["a.json"]
    with pytest.raises(PullFailed, match=r"no file named c\.json"):
        select(["a.json"], ["*.json", "c.json"], "onnx")
    with pytest.raises(PullFailed, match=r"no file that matches \*\.onnx"):
        select(["a.json"], ["*.onnx"], "onnx")
