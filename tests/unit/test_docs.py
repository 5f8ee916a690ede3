"""The documents say what the code says, lead where they point, and name no machine."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from docs import generate
from turbov2.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_HOMES = re.compile(rb"/(?:home|Users)/[a-z][\w.-]*/|/root/|[A-Z]:\\Users\\", re.IGNORECASE)


def test_generated_pages_are_current(capsys: pytest.CaptureFixture[str]):
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "40", "TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "200", "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        {"TURBOV2_HOME": "elsewhere", "PORT": "1", "TURBOV2_NO_SUCH": "1", "LC_ALL": "C"},
    ],
)
def test_the_environment_changes_no_page(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert generate.stale_pages() == []


def test_check_names_the_stale_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = shutil.copytree(generate.FOLDER, tmp_path / "docs")
    (folder / "models.md").write_text("old")
    monkeypatch.setattr(generate, "FOLDER", folder)
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "models.md" in told
    assert "settings.md" not in told
    assert (folder / "models.md").read_text() == "old"


def test_writing_makes_the_pages_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = shutil.copytree(generate.FOLDER, tmp_path / "docs")
    for name in generate.PAGES:
        (folder / name).unlink()
    monkeypatch.setattr(generate, "FOLDER", folder)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    for name in generate.PAGES:
        assert (folder / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


def test_an_unknown_argument_is_refused():
    assert generate.main(["--chekc"]) == 2


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_has_a_line(setting: Setting):
    lines = (ROOT / "docs/settings.md").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{setting.variable}` |")]
    assert setting.meaning.replace("|", "\\|") in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    broken = [target for target in _links(page) if not _leads_somewhere(page, target)]
    assert not broken


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/adr").glob("[0-9]*.md")), ids=lambda page: str(page.stem)
)
def test_a_decision_has_its_four_parts(page: Path):
    assert re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE) == [
        "Context",
        "Decision",
        "What we gave up",
        "What would change our mind",
    ]


def test_no_file_names_a_path_of_a_machine():
    leaks = [
        f"{path.relative_to(ROOT)}: {found[0].decode()}"
        for path in _repository_files()
        if (found := _machine_path().search(path.read_bytes()))
    ]
    assert not leaks


def _links(page: Path) -> Sequence[str]:
    text = _FENCED.sub("", page.read_text("utf-8"))
    return [target for target in _LINK.findall(text) if not re.match(r"[a-z]+:", target)]


def _leads_somewhere(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists() or not path.is_relative_to(ROOT):
        return False
    return not anchor or anchor in _anchors(path)


@functools.cache
def _anchors(page: Path) -> frozenset[str]:
    """Returns the anchors that GitHub gives the page's headings."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text("utf-8")))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@functools.cache
def _machine_path() -> re.Pattern[bytes]:
    """Returns what matches a home folder, or the folder this checkout lies in."""
    if len(ROOT.parts) < 3:  # "/app" and its like occur in texts about containers
        return _HOMES
    return re.compile(_HOMES.pattern + b"|" + re.escape(str(ROOT).encode()), re.IGNORECASE)


def _repository_files() -> Sequence[Path]:
    """Returns all files but this one that git keeps, or would keep."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    paths = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    return [path for path in paths if path.is_file() and path != Path(__file__).resolve()]
