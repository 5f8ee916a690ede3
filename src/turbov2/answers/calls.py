"""Calls of tools in the forms in which models write them: JSON, Python's calls, XML."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from turbov2.answers.declared import Declared
from turbov2.answers.json_mending import read_json

_NAMES = ("name", "function", "tool", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_BESIDE = ("id", "type", "index")  # of a call, and no argument of it
JUNK = " \t\r\n}],;"  # behind a value: a bracket too many, what separates two calls
_FENCE = re.compile(r"\s*```[^\n]*\n(.*?)(?:```\s*)?", re.DOTALL)
_XML_CALL = re.compile(r"<function=([^<>\n]+)>(.*?)(?:</function>|(?=<function=)|$)", re.DOTALL)
_XML_ARGUMENT = re.compile(r"<parameter=([^<>\n]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|$)", re.DOTALL)
_FIRST_MEMBER = re.compile(r'\s*(?:\[\s*)?\{\s*"([^"\\]*)"\s*:\s*(?:"([^"\\]*)"|(.))?', re.DOTALL)
_FIRST_CHARS = 1024  # that are looked at again with each piece that comes
_MARKED_BEGUN = re.compile(
    r"""\s*(?:\[\s*)*(?:[{"'].*|`{1,2}|```.*|[A-Za-z_][\w.-]*\s*(?:\(.*)?)?""", re.DOTALL
)
_XML_BEGINS = "<function="
_MAY_BEGIN = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"[^"\\]*"?\s*)?)?')


class Call(NamedTuple):
    """A call of a declared tool. arguments: a JSON object as text."""

    name: str
    arguments: str


def calls_in(body: str, declared: Declared, *, is_marked: bool) -> list[Call]:
    """Returns the calls that a piece of an answer is, and nothing else beside them; none if it is not.

    is_marked: the model marked it as a call, so its form may be looser than that of JSON that stands alone.
    """
    if is_marked and (fenced := _FENCE.fullmatch(body)):
        body = fenced[1]
    try:
        if is_marked and _XML_BEGINS in body:
            return [_from_xml(call, declared) for call in _XML_CALL.finditer(body)]
        if is_marked and not _begins_json(body):
            return [_from_python(call, declared) for call in _python_calls(body)]
        return [_from_json(each, declared, is_marked) for value in _values(body) for each in _unfolded(value)]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return []


def call_of(name: str, arguments: str, declared: Declared) -> Call | None:
    """Returns the call of a tool by its name, its arguments mended; None if it is none of a declared tool."""
    try:
        return _from_json({"name": name, "arguments": arguments}, declared, is_marked=True)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def may_be_call(beginning: str, declared: Declared) -> bool:
    """Returns whether JSON that begins so may turn out to be a call: its first member says it soon."""
    beginning = beginning[:_FIRST_CHARS]
    first = _FIRST_MEMBER.match(beginning)
    if first is None:
        return _MAY_BEGIN.fullmatch(beginning) is not None
    key, text, other = first.groups()
    if key == "name" and (text is not None or other is not None):
        return other == '"' or declared.name_of(text) is not None
    return key in (*_NAMES, *_ARGUMENTS, *_BESIDE, "tool_calls")


def may_be_marked_call(beginning: str, end_mark: str) -> bool:
    """Returns whether what begins so behind a mark may turn out to be a call, or nothing at all."""
    beginning = beginning[:_FIRST_CHARS]
    begun = beginning.lstrip()
    if begun.startswith("<"):
        return any(
            begun.startswith(known) or known.startswith(begun) for known in (_XML_BEGINS, end_mark) if known
        )
    return _MARKED_BEGUN.fullmatch(beginning) is not None


def _begins_json(body: str) -> bool:
    return re.match(r"\s*(?:\[\s*)?[{\"]", body) is not None


def _values(body: str) -> Iterator[Any]:
    at = 0
    while rest := body[at:].lstrip(JUNK):
        value, at = read_json(body, len(body) - len(rest))
        yield value


def _unfolded(value: Any) -> list[Any]:
    """Returns each call of a list of calls."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    return value if isinstance(value, list) else [value]


def _from_json(value: Any, declared: Declared, is_marked: bool) -> Call:
    """Raises: ValueError for what is no call of a declared tool."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        raise ValueError("no object")
    named = next((key for key in _NAMES if key in value), "name")
    name = declared.name_of(value.get(named))
    if name is None:
        raise ValueError("no declared tool")
    rest = {key: each for key, each in value.items() if key not in (named, *_BESIDE)}
    key = next((key for key in _ARGUMENTS if key in rest), None)
    if not is_marked and (key is None or len(rest) > 1):
        raise ValueError("an object that happens to have a name")
    arguments = rest if key is None else rest[key]
    if isinstance(arguments, str):
        arguments = read_json(arguments)[0] if arguments.strip() else {}
    return Call(name, _as_object(arguments or {}))


def _from_xml(call: re.Match[str], declared: Declared) -> Call:
    name = declared.name_of(call[1])
    if name is None:
        raise ValueError("no declared tool")
    pairs = ((each[1].strip(), each[2]) for each in _XML_ARGUMENT.finditer(call[2]))
    return Call(name, _as_object({key: _typed(text, declared.kind_of(name, key)) for key, text in pairs}))


def _typed(text: str, kind: object) -> Any:
    """Returns XML's text as the type that the tool's schema names."""
    if kind in (None, "string"):
        return text
    try:
        value, end = read_json(text)
    except ValueError:
        return text
    return value if not text[end:].strip() else text


def _python_calls(body: str) -> list[ast.Call]:
    tree = ast.parse(body.strip(), mode="eval").body
    calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    if not all(isinstance(call, ast.Call) for call in calls):
        raise ValueError("no calls")
    return [call for call in calls if isinstance(call, ast.Call)]


def _from_python(call: ast.Call, declared: Declared) -> Call:
    name = declared.name_of(ast.unparse(call.func))
    if name is None or call.args:
        raise ValueError("no declared tool, or arguments without their names")
    return Call(name, _as_object({str(each.arg): _literal(each.value) for each in call.keywords}))


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    return ast.literal_eval(node)


def _as_object(arguments: Any) -> str:
    """Returns the JSON text. Raises: ValueError, TypeError for what is no JSON object."""
    if not isinstance(arguments, dict):
        raise ValueError("arguments are no object")
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half an emoji is no Unicode
