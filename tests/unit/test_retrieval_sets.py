"""Reading retrieval sets: what is accepted, and which line is blamed for what is not."""

from __future__ import annotations

import pytest

from bench.retrieval_sets import Sections, to_lines
from turbov2.errors import InvalidRequest
from turbov2.recipes.retrieval import parse_set

DOCUMENT = b'{"id": "a", "text": "one"}\n'
QUERY = b'{"query": "q", "positives": ["a"]}\n'


def test_lines_in_any_order() -> None:
    found = parse_set([QUERY, b"\n", b'{"id": "b", "text": "two"}', DOCUMENT])
    assert found.documents == ("two", "one")
    assert found.queries == ("q",)
    assert found.positives == (frozenset({1}),)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "needs documents and queries; here are 0 and 0"),
        ([DOCUMENT], "here are 1 and 0"),
        ([DOCUMENT, DOCUMENT, QUERY], "line 2: a second document has the id 'a'"),
        ([DOCUMENT, b'{"query": "q", "positives": ["z"]}'], "line 2: no document has the id 'z'"),
        ([DOCUMENT, b'{"query": "q", "positives": []}'], "line 2 is not a line of a retrieval set"),
        ([DOCUMENT, b'{"query": "q"}'], 'line 2 has neither "id" and "text" nor "query" and "positives"'),
        ([b'{"id": "a", "text": "x", "query": "q", "positives": ["a"]}'], "line 1 has neither"),
        ([b'{"id": "a", "txt": "x"}'], "unknown field"),
        ([b'{"id": "a", "text": ""}'], "line 1 is not"),
        ([b"\xff\xfe"], "line 1 is not"),
        ([b"[1]"], "line 1 is not"),
    ],
)
def test_bad_lines_are_named(lines: list[bytes], complaint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_set(lines)
    assert complaint in caught.value.message


PAGE = """<html><head><title>Not this heading</title></head><body>
<div class="navheader"><h3>Nor this one</h3>next</div>
<h1><span>1. </span>How do I begin?<a class="headerlink" href="#x">¶</a></h1>
<p>With the <em>first</em> step<br>of many.<ul><li>one<li>two</ul>
<div class="toc"><p>contents</p></div><img src="x.png"/><p>Then go on.</p>
<h2>And end</h2><p>Here.</p><script>never()</script></body></html>"""


def test_pages_are_cut_at_headings() -> None:
    page = Sections()
    page.feed(PAGE)
    page.close()
    page.end_section()
    begin = "With the first step of many. one two Then go on."
    assert page.found == [("1. How do I begin?", begin), ("And end", "Here.")]


def test_sets_hold_what_has_one_answer() -> None:
    pairs = [("a", "1"), ("b", "2"), ("b", "3"), ("c", "4"), ("d", "4"), ("a", "1")]
    found = parse_set(to_lines(pairs).splitlines())
    assert (found.documents, found.queries) == (("1",), ("a",))
