"""A Dockerfile read as a builder reads it: stages, their instructions, and the values that hold at each.

Only what ours uses: no heredocs, no ONBUILD, and of variables `$NAME`, `${NAME}` and quotes around words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What the official Python images set themselves.
_OF_IMAGES = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Instruction:
    """One instruction with its line continuations joined and its comments gone."""

    name: str  # in capitals
    text: str  # all after the name
    flags: dict[str, str]  # of --name=value right after the name
    environment: dict[str, str]  # ENV and ARG as they hold here

    def expanded(self) -> str:
        """Returns the text with the variables of the builder put in, as COPY, ENV, USER and so on see it."""
        return expand(self.text, self.environment)

    def words(self) -> list[str]:
        """Returns the words of the JSON form, else of the plain one."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return self.expanded().split()


@dataclass
class Stage:
    """What stands from one FROM to the next."""

    name: str  # empty for a stage without AS
    base: str  # an image, or an earlier stage
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Returns the stage's own instructions of this name, in order."""
        return [instruction for instruction in self.instructions if instruction.name == name]


def expand(text: str, values: Mapping[str, str]) -> str:
    """Returns `text` with each `$NAME` and `${NAME}` replaced; unknown ones become nothing."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values.get(found[1] or found[2], ""), text)


def read_stages(path: Path, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """Returns the stages in order; `arguments` are those of --build-arg."""
    given = dict(arguments or {})
    before_stages: dict[str, str] = {}
    environments: dict[str, dict[str, str]] = {}
    stages: list[Stage] = []
    here: dict[str, str] = before_stages
    for name, text in _lines(path.read_text("utf-8")):
        if name == "FROM":
            base, _, alias = expand(text, before_stages).partition(" AS ")
            stages.append(Stage(alias.strip(), base.strip()))
            here = dict(environments.get(base.strip(), _OF_IMAGES))
            environments[alias.strip()] = here
            continue
        if name == "ARG":
            key, _, default = text.partition("=")
            here[key] = given.get(key, before_stages.get(key, default) if stages else default)
        elif name == "ENV":
            here.update({key: expand(value, here) for key, value in _pairs(text)})
        if stages:
            flags, rest = _flags(text)
            stages[-1].instructions.append(Instruction(name, rest, flags, dict(here)))
    return stages


def chain(stages: list[Stage], name: str = "") -> list[Stage]:
    """Returns a stage and those it is based on, the lowest first; without a name the last one."""
    by_name = {stage.name: stage for stage in stages if stage.name}
    found = [by_name[name] if name else stages[-1]]
    while found[0].base in by_name:
        found.insert(0, by_name[found[0].base])
    return found


def _lines(text: str) -> list[tuple[str, str]]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = kept.replace("\\\n", "")
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in found]


def _flags(text: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while found := re.match(r"--([a-z-]+)=(\S+)\s+", text):
        flags[found[1]] = found[2]
        text = text[found.end() :]
    return flags, text


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(key, value.strip('"')) for key, value in re.findall(r'(\w+)=("[^"]*"|\S+)', text)]
