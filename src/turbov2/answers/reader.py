"""An answer's raw text, piece by piece, as what it says, what it thinks and the tools it calls.

What may be the beginning of a mark, or of a call that has no mark, is held back until it is known. However
the text is cut into pieces, the events add up to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from turbov2.answers.calls import JUNK, Call, call_of, calls_in, may_be_call, may_be_marked_call
from turbov2.answers.declared import Declared
from turbov2.answers.json_scan import JsonScan
from turbov2.answers.said import Said
from turbov2.types import AnswerDelta, ReplyFormat, Tags, TextDelta, ThinkingDelta, ToolCallPart

_USUAL = (Tags("<tool_call>", "</tool_call>"), Tags("<tools>", "</tools>"))
_JSON_BEGUN = re.compile(r"\s*+(?:\[\s*+)?([^\s\[])")
_FENCE_KINDS = ("", "json", "jsonc", "xml", "tool", "tool_call", "tool_calls")
_FENCE_END = re.compile(r"\n[ \t]*```")
_FENCE_END_BEGUN = re.compile(r"\n[ \t]*`{0,2}\Z")
_STEP_CHARS = 4096  # looked at together: each step copies what it leaves


class AnswerReader:
    """Reads one answer. Calls are looked for only where tools are declared.

    A call is told when it is whole, for only then its name and its arguments are known to be right. One that
    nobody declared is text, without its marks; marks among other words are text themselves. What a fence of
    code holds is code, unless it is a call.
    """

    def __init__(
        self, form: ReplyFormat, declared: Declared, *, is_parallel: bool, new_id: Callable[[], str]
    ) -> None:
        """is_parallel: whether a second call counts. new_id: gives each call its own."""
        self._thinking = form.thinking
        self._declared = declared
        self._is_parallel = is_parallel
        self._new_id = new_id
        marks = tuple(dict.fromkeys((*form.calls, *_USUAL))) if declared else ()
        self._ends = {tags.begin: tags.end for tags in marks}
        self._marks = sorted({*self._ends, *filter(None, self._ends.values())}, key=len, reverse=True)
        mark = "|".join(map(re.escape, self._marks))
        self._openings = re.compile(
            rf"(?P<mark>{mark})|^[ \t]*(?:(?P<fence>```)|(?P<json>(?!{mark})[\[{{]))", re.MULTILINE
        )
        self._held = ""
        self._said = Said()
        self._is_cut = False
        self._step: Callable[[bool], bool] = self._start
        self._mark = ""  # that began what is read
        self._scan = JsonScan()  # of the value in which the step is
        self._n_whole = 0  # characters up to the end of the last whole value in a mark, or line in a fence
        self._is_value_whole = False
        self.has_called = False

    def read(self, text: str) -> list[AnswerDelta]:
        """Returns what the next piece tells."""
        for start in range(0, len(text), _STEP_CHARS):
            self._held += text[start : start + _STEP_CHARS]
            while self._step(False):
                pass
        return self._said.take()

    def tell(self, part: TextDelta | ThinkingDelta | ToolCallPart) -> list[AnswerDelta]:
        """Returns what a part tells that another server has understood; a call is one by the same rules."""
        match part:
            case TextDelta(text):
                self._said.text(text)
            case ThinkingDelta(text):
                self._said.part()
                self._said.thinking(text)
            case ToolCallPart(_, name, arguments):
                call = call_of(name, arguments, self._declared)
                if call is None:
                    self._said.text(arguments)
                else:
                    self._call([call])
        return self._said.take()

    def end(self, *, is_cut: bool) -> list[AnswerDelta]:
        """Returns what was held back. is_cut: the answer met its limit, so an unfinished call is none."""
        self._is_cut = is_cut
        while self._step(True):
            pass
        self._said.text("", is_last=True)
        return self._said.take()

    # Each step takes what it knows from the front of what is held. It returns whether to go on at once.

    def _start(self, is_end: bool) -> bool:
        begun = self._held.lstrip()
        if self._thinking is not None:
            if begun.startswith(self._thinking.begin):
                self._held = begun[len(self._thinking.begin) :]
                self._said.part()
                self._step = self._thought_begun
                return True
            if self._thinking.begin.startswith(begun) and not is_end:
                return False
        self._step = self._text if self._declared else self._plain
        return True

    def _thought_begun(self, is_end: bool) -> bool:
        self._held = self._held.lstrip()
        if self._held:
            self._step = self._thought
        return bool(self._held)

    def _thought(self, is_end: bool) -> bool:
        assert self._thinking is not None
        thought, mark, rest = self._held.partition(self._thinking.end)
        if mark:
            self._said.thinking(thought.rstrip())
            self._held, self._step = rest, self._start
            self._said.part()
            return True
        n_begun = 0 if is_end else _n_begun(thought, (self._thinking.end,))
        kept = thought[: len(thought) - n_begun].rstrip()
        self._said.thinking(kept)
        self._held = "" if is_end else thought[len(kept) :]
        return False

    def _plain(self, is_end: bool) -> bool:
        self._said.text(self._held, is_last=True)
        self._held = ""
        return False

    def _text(self, is_end: bool) -> bool:
        before = "\n" if self._said.is_at_line_start else "."
        found = self._openings.search(before + self._held, 1)
        if found is None:
            n_begun = 0 if is_end else _n_begun(self._held, (*self._marks, "```"))
            self._say(len(self._held) - n_begun)
            return False
        if found["mark"] is None:
            self._say(found.end() - 1 - len(found["fence"] or found["json"]))
            if not is_end and self._is_mark_begun(self._held):
                return False
            return self._enter(self._fence if found["fence"] else self._json)
        self._say(found.start() - 1)
        self._held = self._held[len(found["mark"]) :]
        if found["mark"] in self._ends:
            self._mark = found["mark"]
            return self._enter(self._marked)
        if not (self.has_called and self._said.is_fresh):  # behind a call models write an end too many
            self._said.text(found["mark"])
        return True

    def _marked(self, is_end: bool) -> bool:
        if not may_be_marked_call(self._held, self._end_mark):
            self._said.text(self._mark)  # somebody speaks of marks
            return self._enter(self._text)
        begun = _JSON_BEGUN.match(self._held)
        if begun is None and not is_end:
            return False
        if begun is not None and begun[1] == "{":
            return self._enter(self._marked_json)
        body, mark, rest = self._upto_end_mark()
        return bool(mark or is_end) and self._understand(body, rest, is_whole=bool(mark))

    def _marked_json(self, is_end: bool) -> bool:
        """Ends with its last value, not at an end mark that stands in one of the value's texts."""
        while True:
            if not self._is_value_whole:
                end = self._scan.end_in(self._held)
                if end is None:
                    return is_end and self._understand_open()
                self._n_whole, self._is_value_whole = end, True
            rest = self._held[self._n_whole :].lstrip(JUNK)
            if not is_end and self._is_mark_begun(rest):
                return False  # the end mark is not here yet, or another value
            if rest[:1] not in ("{", "[") or rest.startswith(tuple(self._marks)):
                after = rest.removeprefix(self._end_mark)
                return self._understand(self._held[: self._n_whole], after, is_whole=True)
            self._scan, self._is_value_whole = JsonScan(len(self._held) - len(rest)), False

    def _understand_open(self) -> bool:
        """The last value has no end: it is mended, or where the answer was cut nobody knows what it was."""
        if self._is_cut and self._n_whole:
            return self._understand(self._held[: self._n_whole], self._held[self._n_whole :], is_whole=True)
        body, mark, rest = self._upto_end_mark()
        return self._understand(body, rest, is_whole=bool(mark))

    def _upto_end_mark(self) -> tuple[str, str, str]:
        return self._held.partition(self._end_mark) if self._end_mark else (self._held, "", "")

    def _json(self, is_end: bool) -> bool:
        if not may_be_call(self._held, self._declared):
            return self._enter(self._json_text)
        end = self._scan.end_in(self._held)
        if end is None and not is_end:
            return False
        body = self._held[:end]
        calls = [] if end is None and self._is_cut else calls_in(body, self._declared, is_marked=False)
        if not calls:
            return self._enter(self._json_text)
        self._held = self._held[len(body) :]
        return self._call(calls)

    def _json_text(self, is_end: bool) -> bool:
        end = self._scan.end_in(self._held)
        if end is None:
            self._scan.drop(len(self._held))
        self._say(len(self._held) if end is None else end)
        return end is not None and self._enter(self._text)

    def _fence(self, is_end: bool) -> bool:
        line, line_end, content = self._held.partition("\n")
        if not line_end and not is_end:
            return False
        if "```" in line[3:]:  # it ends in the line where it began
            self._say(len(line))
            return self._enter(self._text)
        begun = content.lstrip()
        if not is_end and self._is_mark_begun(begun):
            return False
        is_marked = begun.startswith(tuple(self._ends))
        kind = line[3:].strip().lower()
        if kind not in _FENCE_KINDS or not (is_marked or may_be_call(begun, self._declared)):
            return self._code()
        end = _FENCE_END.search(self._held, max(len(line), self._n_whole))
        if end is None and not is_end:
            self._n_whole = self._held.rfind("\n")
            return False
        body = self._held[len(line) + 1 : None if end is None else end.start()]
        if is_marked:
            body = re.sub("|".join(map(re.escape, self._marks)), "", body)
        is_lost = end is None and self._is_cut
        calls = [] if is_lost else calls_in(body, self._declared, is_marked=is_marked)
        if not calls:
            return self._code()
        self._held = "" if end is None else self._held[end.end() :]
        return self._call(calls)

    def _code(self) -> bool:
        self._say(3)  # the fence itself, which does not end what it begins
        return self._enter(self._fence_text)

    def _fence_text(self, is_end: bool) -> bool:
        end = _FENCE_END.search(self._held)
        if end is not None:
            self._say(end.end())
            return self._enter(self._text)
        begun = None if is_end else _FENCE_END_BEGUN.search(self._held)
        self._say(len(self._held) if begun is None else begun.start())
        return False

    # What steps do.

    @property
    def _end_mark(self) -> str:
        return self._ends[self._mark]

    def _enter(self, step: Callable[[bool], bool]) -> bool:
        self._step, self._scan = step, JsonScan()
        self._n_whole, self._is_value_whole = 0, False
        return True

    def _is_mark_begun(self, text: str) -> bool:
        return any(mark.startswith(text) for mark in self._marks if mark != text)

    def _say(self, n_chars: int) -> None:
        self._said.text(self._held[:n_chars])
        self._held = self._held[n_chars:]

    def _understand(self, body: str, rest: str, *, is_whole: bool) -> bool:
        is_lost = self._is_cut and not is_whole
        calls = [] if is_lost else calls_in(body, self._declared, is_marked=True)
        self._held = rest
        if calls:
            return self._call(calls)
        self._said.text(body)
        return self._enter(self._text)

    def _call(self, calls: list[Call]) -> bool:
        self._said.part()
        for call in calls:
            if self._is_parallel or not self.has_called:
                self._said.call(self._new_id(), call.name, call.arguments)
                self.has_called = True
        return self._enter(self._text)


def _n_begun(text: str, marks: Iterable[str]) -> int:
    """Returns how many characters at the end of the text may be the beginning of one of the marks."""
    return max((_n_begun_of(text, mark) for mark in marks), default=0)


def _n_begun_of(text: str, mark: str) -> int:
    longest = min(len(mark) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
