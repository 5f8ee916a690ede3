"""A vocabulary of our own: frequent English words, their forms, and a long tail of made-up names."""

from __future__ import annotations

import functools
import itertools

_FREQUENT = """
the of and to in a is that for it as was with be by on not this are or from at which but have an had they
you were their one all we can her has there been if more when will would who so no out up into do any
your what some other time than then only could them its also new first may these two like over such our
most must after made
"""

_ROOTS = """
people year state world school system program question work government number night point home water room
mother area money story fact month lot right study book eye job word business issue side kind head house
service friend father power hour game line end member law car city community name president team minute
idea body information back parent face level office door health person art war history party result
change morning reason research girl guy moment air teacher force education server request answer vector
model memory network record window message report market price energy product field stage paper ground
space effort doctor garden river mountain bridge engine letter signal winter summer station forest island
train ticket kitchen bottle shoulder finger voice colour pattern metal copper silver coffee paint planet
weather storm harvest village border treaty protein enzyme neuron fracture therapy symptom dose vaccine
cluster buffer thread kernel packet cache query index schema token filter build open run walk talk learn
read write carry follow create speak allow add spend grow offer remember consider appear buy wait serve
send expect stay fall cut reach kill remain suggest raise pass sell require report decide pull return
explain hope develop drive break receive agree support hit produce eat cover catch draw choose cause
measure compare prefer connect protect deliver replace observe estimate collapse negotiate translate
compress small large good high old great big young different long little important bad early public able
strong whole free clear recent certain personal open red difficult available likely short single medical
current wrong private past foreign fine common poor natural significant similar hot dead central happy
serious ready simple left physical general environmental financial blue democratic dark various entire
close legal religious cold final main green nice huge popular traditional cultural quick gentle narrow
ancient brittle careful distant eager fragile hollow
"""

_SUFFIXES = ("", "s", "ed", "ing", "er", "ly", "ness", "ment", "able", "ish", "less", "ful")
_PREFIXES = ("", "re", "un", "over", "pre", "out", "sub", "inter")
_SYLLABLES = ["".join(parts) for parts in itertools.product("bdfgklmnprstvz", "aeiou", ("", "n", "r"))]
MAX_NAMES = len(_SYLLABLES) ** 3
_STRIDE = 7_654_321  # prime to MAX_NAMES, so that neighbouring numbers get names that differ in all syllables


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Returns about 30,000 distinct words, the most frequent first."""
    roots = list(dict.fromkeys(_ROOTS.split()))
    # Round by round, so that plain words come before their rarer forms, as they do in English.
    formed = [prefix + root + suffix for prefix in _PREFIXES for suffix in _SUFFIXES for root in roots]
    names = [name_of(number).capitalize() for number in range(2_500)]
    numbers = [str(1900 + n) for n in range(150)] + [f"{n}.{n % 7}" for n in range(60)]
    tail = [word for pair in itertools.zip_longest(names, numbers) for word in pair if word]
    n_plain = len(roots) * 4  # "", s, ed, ing
    mixed = [word for pair in zip(formed[n_plain:], tail, strict=False) for word in pair]
    return tuple(
        dict.fromkeys([*_FREQUENT.split(), *formed[:n_plain], *mixed, *formed[n_plain + len(tail) :]])
    )


def name_of(number: int) -> str:
    """Returns a pronounceable word of three syllables that no other number below MAX_NAMES has."""
    scattered = number * _STRIDE % MAX_NAMES
    first, rest = divmod(scattered, len(_SYLLABLES) ** 2)
    second, third = divmod(rest, len(_SYLLABLES))
    return _SYLLABLES[first] + _SYLLABLES[second] + _SYLLABLES[third]
