"""What models that write can do, by their files alone, and that running their templates says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.chat_templates import FAMILIES
from tests.support.gguf_headers import Value, header
from turbov2.backends.abilities import abilities_of


def gguf(folder: Path, **entries: Value) -> dict[str, str]:
    path = folder / "model.gguf"
    path.write_bytes(header({key.replace("__", "."): value for key, value in entries.items()}))
    return {path.name: str(path)}


def saved(folder: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_says_what_running_it_says(tmp_path: Path, name: str) -> None:
    templates = pytest.importorskip("turbov2.backends.templates", reason="runs templates: needs jinja2")
    reply = templates.ChatTemplate(FAMILIES[name], "<s>", "</s>").reply
    is_told = {"tools": reply.has_tools, "thinking": reply.thinking is not None}
    told = tuple(name for name, is_so in is_told.items() if is_so)
    files = gguf(tmp_path, tokenizer__chat_template=FAMILIES[name])
    assert abilities_of("llama_cpp", files, {}) == told
    files = saved(tmp_path, **{"tokenizer_config.json": json.dumps({"chat_template": FAMILIES[name]})})
    assert abilities_of("huggingface", files, {}) == told


def test_the_template_is_found_behind_a_vocabulary(tmp_path: Path) -> None:
    files = gguf(
        tmp_path,
        tokenizer__ggml__tokens=["a", "tools", ""],
        tokenizer__ggml__scores=[1, 2],
        tokenizer__ggml__add_bos_token=True,
        general__name="<think> tools </think>",
        tokenizer__chat_template="{{ tools }}",
    )
    assert abilities_of("llama_cpp", files, {}) == ("tools",)


def test_where_transformers_looks(tmp_path: Path) -> None:
    both = json.dumps({"chat_template": "{{ tools }} </think>"})
    named = json.dumps({"chat_template": [{"name": "tool_use", "template": "{{ tools }}"}]})
    for files, told in (
        ({"chat_template.jinja": "none", "tokenizer_config.json": both}, ()),
        ({"chat_template.json": both}, ("tools", "thinking")),
        ({"tokenizer_config.json": named}, ("tools",)),
        ({"tokenizer_config.json": "[1]"}, ()),
        ({"tokenizer_config.json": "{"}, ()),
        ({"tokenizer_config.json": "[" * 200_000}, ()),
        ({}, ()),
    ):
        assert abilities_of("vlm", saved(tmp_path, **files), {}) == told, files


def test_files_that_say_nothing_are_no_error(tmp_path: Path) -> None:
    files = gguf(tmp_path, general__architecture="llama")
    assert abilities_of("llama_cpp", files, {}) == ()
    path = Path(files["model.gguf"])
    whole = header({"tokenizer.ggml.tokens": ["a", "b"], "tokenizer.chat_template": "tools"})
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert abilities_of("llama_cpp", files, {}) == ()
    assert abilities_of("llama_cpp", {}, {}) == ()
    assert abilities_of("huggingface", {"chat_template.jinja": str(tmp_path / "gone")}, {}) == ()


def test_what_another_server_runs_can_call() -> None:
    assert abilities_of("remote_openai", {}, {}) == ("tools",)
