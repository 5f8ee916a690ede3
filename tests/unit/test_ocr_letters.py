"""What the recogniser read, as letters of the script that it was read in."""

from __future__ import annotations

import pytest

from turbov2.backends.rapid_ocr.letters import Letter, plain_marks


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        ("f（x）；y，", "f(x);y,"),
        ("〈name〉", "⟨name⟩"),
        ("ＡＢ１２", "AB12"),
        ("两个（字）", "两个（字）"),
        ("かな〈x〉", "かな〈x〉"),
        ("⟨a⟩ 。", "⟨a⟩ ."),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_wide_marks_are_usual_ones_beside_latin_letters(read: str, wanted: str) -> None:
    letters = [Letter(char, 2.0 * at, 0.9) for at, char in enumerate(read)]
    found = plain_marks(letters)
    assert "".join(letter.text for letter in found) == wanted
    assert [letter.x for letter in found] == [letter.x for letter in letters]
