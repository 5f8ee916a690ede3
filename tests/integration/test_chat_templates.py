"""Chat templates of GGUF files come out as transformers renders them, and stay in their sandbox."""

from __future__ import annotations

import datetime as dt

import jinja2
import pytest

pytest.importorskip("jinja2", reason="runs templates: needs the extra gguf")

from turbov2.backends.templates import ChatTemplate, Message
from turbov2.errors import LoadFailed


def said(*turns: tuple[str, str]) -> list[Message]:
    return [{"role": role, "content": text} for role, text in turns]


TURNS = said(("system", "be <brief> & 'kind'"), ("user", " Hi "), ("assistant", "yes"), ("user", "ü\nb"))

# The habits of makers' templates, one or two each.
TEMPLATES = {
    "chatml": (
        "{% for message in messages %}\n{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
        "<|im_end|>\n{% endfor %}\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "trims and begins": (
        "{{- bos_token }}{%- for message in messages %}\n    {%- if message.role == 'user' -%}\n"
        "[INST] {{ message.content | trim }} [/INST]\n    {%- else %}\n {{ message.content }}"
        "{{ eos_token }}\n    {%- endif %}\n{%- endfor %}"
    ),
    "takes the system's words apart": (
        "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}"
        "{% set ns.system = m.content %}{% continue %}{% endif %}<{{ m.role }}>{{ m.content }}"
        "{% if loop.last and ns.system is not none %}{{ ns.system | tojson }}{% endif %}{% endfor %}"
    ),
    "asks for tools": (
        "{% if tools is not none %}tools{% endif %}{{ messages | tojson(indent=2) }}{{ messages[0].content }}"
    ),
    "writes JSON in ASCII": "{% for m in messages %}{{ m.content | tojson(ensure_ascii=True) }}{% endfor %}",
    "marks what was said": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}\n{{ m.content }}"
        "{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    ),
    "knows the day": "{{ strftime_now('%d %B %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_as_transformers_renders_it(name: str) -> None:
    library = pytest.importorskip(
        "transformers.utils.chat_template_utils", reason="compares: needs transformers"
    )
    before = dt.date.today()
    [expected], _ = library.render_jinja_template(
        [TURNS], chat_template=TEMPLATES[name], add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    ours = ChatTemplate(TEMPLATES[name], "<s>", "</s>").render(TURNS)
    assert ours == expected or before != dt.date.today()


def test_a_template_that_wants_lists_of_parts() -> None:
    parts = (
        "{% for m in messages %}{% for p in m.content %}{{ p.type }}: {{ p.text }}{% endfor %}{% endfor %}"
    )
    assert ChatTemplate(parts, "", "").render(said(("user", "a"))) == "text: a"
    either = (
        "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}"
    )
    assert ChatTemplate(either, "", "").render(said(("user", "a"))) == "a"


def test_an_assistants_last_turn_stays_open() -> None:
    template = ChatTemplate(TEMPLATES["chatml"], "", "")
    open_turn = template.render(said(("user", "a"), ("assistant", "b ")))
    assert open_turn == template.render(said(("user", "a"))) + "b "
    assert open_turn.endswith("<|im_start|>assistant\nb ")


def test_what_a_template_raises() -> None:
    refusing = (
        "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0].content }}"
    )
    with pytest.raises(jinja2.TemplateError, match="one turn"):
        ChatTemplate(refusing, "", "").render(TURNS)


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{% include '/etc/hostname' %}",
    ],
)
def test_nothing_leaves_the_sandbox(escape: str) -> None:
    with pytest.raises(LoadFailed, match="leaves out what a user says"):
        ChatTemplate(escape + "{{ messages[0].content }}", "", "").render(said(("user", "a")))
