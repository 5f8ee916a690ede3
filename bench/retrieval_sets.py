"""Retrieval sets from Debian's documentation packages: `python -m bench.retrieval_sets OUT`. Uses apt.

A question or heading is the query, the text below it the document that answers it; the document does not
hold its heading. Texts stay with their packages: here are only names, versions and hashes of the results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

MIN_CHARS, MAX_CHARS = 120, 4_000  # of a document; longer ones are cut there, at a word
MIN_WORDS = 3  # of a heading: shorter ones ("Packages") say too little to be found by
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_SKIPPED = {"head", "script", "style", "nav", "footer"}
_SKIPPED_CLASSES = {
    "navheader", "navfooter", "toc", "list-of-tables", "list-of-examples", "sphinxsidebar", "related",
    "footer", "headerlink", "contents", "docnav",
}  # fmt: skip
_VOID = {"br", "hr", "img", "input", "link", "meta", "col", "area", "base", "wbr"}
_BLOCKS = {"p", "li", "dt", "dd", "pre", "br", "tr", "td", "div"}
_NUMBER = re.compile(r"^(chapter|appendix)?\s*[0-9A-Z]?[0-9]*(\.[0-9]+)*\.\s+", re.IGNORECASE)


class Source(NamedTuple):
    """Pages of one package, and what was built from them on the day of the figures."""

    package: str
    version: str
    pages: str  # glob under usr/share
    only_questions: bool
    n_queries: int
    sha256: str  # its first 12 digits


PYTHON = ("python3.11-doc", "3.11.2-6+deb12u9")
SOURCES = {
    "debian-faq": Source("debian-faq", "11.1", "doc/debian/FAQ/*.en.html", True, 116, "663bb702a6c2"),
    "python-faq": Source(*PYTHON, "doc/python3.11/html/faq/*.html", True, 165, "19b34a7f83ca"),
    "python-howto": Source(*PYTHON, "doc/python3.11/html/[ht][ou][wt]*/*.html", False, 282, "29d5e6faf5cc"),
    "debian-reference": Source(
        "debian-reference-en", "2.100", "debian-reference/*.en.html", False, 332, "0fae129ff832"
    ),
    "debian-policy": Source(
        "debian-policy", "4.6.2.0", "doc/debian-policy/policy.html/*.html", False, 140, "25982865c7ff"
    ),
    "developers-reference": Source(
        "developers-reference", "12.18", "developers-reference/*.html", False, 145, "69fee4e203c2"
    ),
    "debian-handbook": Source(
        "debian-handbook", "11.20220922", "doc/debian-handbook/html/en-US/*.html", False, 341, "f313064eedb1"
    ),
}


class Sections(HTMLParser):
    """Collects (heading, text below it up to the next heading) of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._open: list[tuple[str, bool]] = []  # tag, whether its content is skipped
        self._heading: list[str] | None = None
        self._title = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Afterwards the element is open."""
        classes = set((dict(attributes).get("class") or "").split())
        is_skipped = self._is_skipped() or tag in _SKIPPED or bool(classes & _SKIPPED_CLASSES)
        if tag in _HEADINGS and not is_skipped:
            self.end_section()
            self._heading = []
        if tag not in _VOID:
            self._open.append((tag, is_skipped))
        self._text.append(" " if tag in _BLOCKS else "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Nothing: an empty element holds no text."""

    def handle_endtag(self, tag: str) -> None:
        """Afterwards the element, and any left open inside it, is closed."""
        if tag in _HEADINGS and self._heading is not None:
            self._title, self._heading = _clean("".join(self._heading)), None
        places = [place for place, (name, _) in enumerate(self._open) if name == tag]
        if places:
            del self._open[places[-1] :]

    def handle_data(self, data: str) -> None:
        """Afterwards the text belongs to the heading or to the section below it."""
        if not self._is_skipped():
            (self._text if self._heading is None else self._heading).append(data)

    def end_section(self) -> None:
        """Afterwards what has been read since the last heading is found."""
        if self._title:
            self.found.append((self._title, _clean("".join(self._text))))
        self._title, self._text = "", []

    def _is_skipped(self) -> bool:
        return bool(self._open) and self._open[-1][1]


def _clean(text: str) -> str:
    return " ".join(text.replace("¶", " ").split())


def sections(pages: list[Path], only_questions: bool) -> Iterator[tuple[str, str]]:
    """Yields (query, document) in page order."""
    for page in pages:
        parser = Sections()
        parser.feed(page.read_text("utf-8"))
        parser.close()
        parser.end_section()
        for heading, text in parser.found:
            query = _NUMBER.sub("", heading)
            is_query = query.endswith("?") if only_questions else len(query.split()) >= MIN_WORDS
            if is_query and len(text) >= MIN_CHARS:
                yield query, text[:MAX_CHARS].rsplit(" ", 1)[0] if len(text) > MAX_CHARS else text


def to_lines(pairs: list[tuple[str, str]]) -> bytes:
    """Returns the set as JSONL; a heading or text that occurs twice is left out, for it has no one answer."""
    pairs = list(dict.fromkeys(pairs))  # some packages hold every page twice
    queries, texts = Counter(query.lower() for query, _ in pairs), Counter(text for _, text in pairs)
    once = [(query, text) for query, text in pairs if queries[query.lower()] == 1 and texts[text] == 1]
    lines: list[dict[str, object]] = [{"id": f"d{n}", "text": text} for n, (_, text) in enumerate(once)]
    lines += [{"query": query, "positives": [f"d{n}"]} for n, (query, _) in enumerate(once)]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def unpack(package: str, version: str, folder: Path) -> Path:
    """Returns `usr/share` of the package, downloaded by apt and unpacked under `folder`, not installed."""
    target = folder / package
    if not target.exists():
        subprocess.run(["apt-get", "download", "-q", f"{package}={version}"], cwd=folder, check=True)
        archive = next(folder.glob(f"{package}_*.deb"))
        target.mkdir()
        subprocess.run(["dpkg", "-x", str(archive), str(target)], check=True)
    return target / "usr/share"


def read_pairs(source: Source, packages: Path) -> list[tuple[str, str]]:
    """Returns the package's pairs of query and document."""
    share = unpack(source.package, source.version, packages)
    pages = sorted(page for page in share.glob(source.pages) if page.is_file() and not page.is_symlink())
    return list(sections(pages, source.only_questions))


def write(path: Path, pairs: list[tuple[str, str]]) -> tuple[int, str]:
    """Returns how many queries the file now has, and the start of its sha256."""
    lines = to_lines(pairs)
    path.write_bytes(lines)
    return lines.count(b"\n") // 2, hashlib.sha256(lines).hexdigest()[:12]  # as many documents as queries


def main() -> None:
    """Builds every set, and `all.jsonl` of them together; a set that is not the known one "differs"."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval_sets", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the sets")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    every: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as packages:
        for name, source in SOURCES.items():
            pairs = read_pairs(source, Path(packages))
            every += pairs
            written = write(out / f"{name}.jsonl", pairs)
            verdict = "same" if written == (source.n_queries, source.sha256) else "differs"
            print(f"{name:22} {written[0]:5} {written[1]}  {verdict}", flush=True)
    n_queries, digest = write(out / "all.jsonl", every)
    print(f"{'all':22} {n_queries:5} {digest}")


if __name__ == "__main__":
    main()
