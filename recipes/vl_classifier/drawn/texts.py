"""Real text in many languages, read from what a Debian system and this Python installation carry."""

from __future__ import annotations

import ast
import gzip
import random as randomness
import re
import struct
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

# Languages of manual pages and of message catalogues, by the script that they are written in.
SCRIPT_OF = {
    "cs": "latin", "da": "latin", "de": "latin", "es": "latin", "fi": "latin", "fr": "latin", "hu": "latin",
    "id": "latin", "it": "latin", "nl": "latin", "pl": "latin", "pt_BR": "latin", "ro": "latin",
    "sv": "latin", "tr": "latin", "en": "latin", "ru": "cyrillic", "uk": "cyrillic", "bg": "cyrillic",
    "sr": "cyrillic", "el": "greek", "ja": "japanese", "zh_CN": "chinese", "zh_TW": "chinese",
    "ko": "korean", "ar": "arabic", "fa": "arabic", "he": "hebrew", "hi": "devanagari", "mr": "devanagari",
    "th": "thai",
}  # fmt: skip
# Written without spaces: a line may end after any letter.
UNSPACED = ("japanese", "chinese", "thai")
# Signs that a text is not prose.
_MARKUP = ("http", "|", "](", "```", "<a ", "img src")
_FILES_PER_LANGUAGE = 24
_ROFF = re.compile(r"\\f[BIRPCW]|\\f\([A-Z]{2}|\\[&/,%|^]|\\s[-+]?\d")
_SIGNS = {
    "\\-": "-",
    "\\(aq": "'",
    "\\(co": "(c)",
    "\\e": "\\",
    "\\ ": " ",
    "\\(bu": "•",
    "\\(lq": '"',
    "\\(rq": '"',
}


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _reads_well(text: str) -> bool:
    letters = sum(letter.isalpha() or letter.isspace() for letter in text)
    return (
        24 <= len(text) <= 2500 and letters > 0.82 * len(text) and not any(sign in text for sign in _MARKUP)
    )


def _mostly_ascii(text: str) -> bool:
    """Whether a text of a non-Latin script was left untranslated."""
    return sum(letter.isascii() and letter.isalpha() for letter in text) > 0.4 * len(text)


def _manual_paragraphs(path: Path) -> Iterator[str]:
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    kept: list[str] = []
    for line in text.splitlines():
        if line.startswith((".", "'")) or not line.strip():
            yield _tidy(" ".join(kept))
            kept = []
        else:
            line = _ROFF.sub("", line)
            for sign, letter in _SIGNS.items():
                line = line.replace(sign, letter)
            kept.append(line)


def _catalogue_messages(path: Path) -> Iterator[str]:
    """Translated messages of a gettext `.mo` file, tags and accelerators dropped."""
    content = path.read_bytes()
    _, _, count, _, at = struct.unpack("<5I", content[:20])
    for i in range(1, count):
        length, start = struct.unpack_from("<2I", content, at + 8 * i)
        message = content[start : start + length].decode("utf-8", "replace").split("\0")[0]
        yield _tidy(re.sub(r"<[^>]*>|[_&](?=\w)|%\w*", "", message))


def _plain_paragraphs(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8", "replace")
    yield from (_tidy(block) for block in re.split(r"\n\s*\n", text[:200_000]))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text("utf-8", "replace"))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield from (_tidy(block) for block in re.split(r"\n\s*\n", text))


def _english() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(Path("/usr/share/common-licenses").glob("*")):
        yield from _plain_paragraphs(path)
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info/METADATA"))[:60]:
        yield from _plain_paragraphs(path)
    for path in sorted(library.glob("*.py"))[::3]:
        yield from _docstrings(path)


def _of_language(language: str) -> Iterator[str]:
    manuals = sorted(Path("/usr/share/man").joinpath("" if language == "en" else language).glob("man*/*.gz"))
    for path in manuals[:: max(1, len(manuals) // _FILES_PER_LANGUAGE)]:
        yield from _manual_paragraphs(path)
    catalogues = Path("/usr/share/locale").joinpath(language, "LC_MESSAGES").glob("*.mo")
    few = ("gtk30", "glib20", "apt", "bash", "coreutils", "software-properties", "PackageKit")
    for path in sorted(path for path in catalogues if path.stem in few):
        yield from _catalogue_messages(path)


class Corpus:
    """Paragraphs by language, and lines of program text."""

    def __init__(self, paragraphs: dict[str, list[str]], code: list[list[str]]) -> None:
        self.paragraphs = paragraphs
        self.code = code

    def languages(self, script: str) -> list[str]:
        """Languages of a script with enough text to fill pages."""
        return [
            name for name, texts in self.paragraphs.items() if SCRIPT_OF[name] == script and len(texts) >= 40
        ]

    @lru_cache(maxsize=64)  # noqa: B019 - there is one corpus a process
    def letters(self, language: str) -> str:
        """Letters that the language is commonly written with."""
        counts = Counter("".join(self.paragraphs[language][:1500]))
        return "".join(letter for letter, count in counts.items() if letter.isalpha() and count >= 4)


def _code_files() -> Iterable[Path]:
    yield from sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::4]
    yield from sorted(Path("/usr/include").glob("*.h"))[::4]
    yield from sorted(Path("/usr/share/bash-completion/completions").glob("*"))[::12]


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """Read the text once a process."""
    paragraphs: dict[str, list[str]] = defaultdict(list)
    paragraphs["en"].extend(filter(_reads_well, _english()))
    for language, script in SCRIPT_OF.items():
        texts = filter(_reads_well, _of_language(language))
        paragraphs[language].extend(text for text in texts if script == "latin" or not _mostly_ascii(text))
    code = []
    for path in _code_files():
        if path.is_file():
            lines = [line.expandtabs(4) for line in path.read_text("utf-8", "replace").splitlines()[:800]]
            code.append([line[:100] for line in lines])
    return Corpus(dict(paragraphs), [lines for lines in code if len(lines) > 30])


class Prose:
    """Draws pieces of text of one language with one source of randomness."""

    def __init__(self, random: randomness.Random, language: str) -> None:
        self._random = random
        self._texts = corpus().paragraphs[language]
        self.script = SCRIPT_OF[language]
        self._at = random.randrange(len(self._texts))

    def _tokens(self, text: str) -> list[str]:
        if self.script not in UNSPACED:
            return text.split()
        if self.script == "thai":
            return re.findall(r"[\u0e40-\u0e44]?[^\u0e40-\u0e44][\u0e31\u0e33-\u0e3a\u0e47-\u0e4e]*", text)
        return re.findall(r"[A-Za-z0-9_./-]+|[^\s][、。，．）」]?", text)

    def words(self, count: int) -> list[str]:
        """Running text of `count` words (letters, if the script has no spaces), going on where it stopped."""
        out: list[str] = []
        while len(out) < count:
            self._at = (self._at + 1) % len(self._texts)
            out.extend(token for token in self._tokens(self._texts[self._at]) if len(token) < 30)
        return out[:count]

    def phrase(self, least: int, most: int) -> str:
        """A few words in one string, from a place of its own, without a closing mark."""
        text = self._random.choice(self._texts)
        scale = 3 if self.script in UNSPACED else 1
        tokens = self._tokens(text)
        start = self._random.randrange(max(1, len(tokens) - most * scale))
        kept = tokens[start : start + self._random.randint(least, most) * scale]
        joined = ("" if self.script in UNSPACED else " ").join(kept).strip(".,;:()\"'`- ")
        return (joined[:1].upper() + joined[1:]) or "A"

    def label(self, most: int = 14) -> str:
        """A short name: one or two words of at most `most` letters."""
        text = self.phrase(1, 2)
        return text if len(text) <= most else text[:most].rsplit(" ", 1)[0]
