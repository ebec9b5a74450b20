"""Matching in linear time, and exactly as Python's own engine decides."""

from __future__ import annotations

import random
import re
import time

import pytest

from queuectl.model import patterns
from queuectl.model.patterns import Pattern, UnsupportedPatternError

EXPLOSIVE = [
    r"([a-z0-9_-]+,?)+",
    r"(a|a)*",
    r"(a*)*b",
    r"(a|aa)+",
    r"(.*)*x",
    r"([a-z]+)*[0-9]",
    r"((a?){30}){30}a{30}",
    r"(a+|b+|ab+)*c",
    r"^(\w+\s?)*$",
    r".*.*.*.*.*.*=.*",
]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_no_pattern_takes_long(pattern: str) -> None:
    """P10: the longest text that a parameter may have is judged at once, whatever repeats what."""
    made = Pattern(pattern)
    began_s = time.process_time()
    for text in ("a" * 256, "a" * 255 + "!", "ab" * 127 + "!", "a," * 128, "-" * 47 + "!"):
        made.fits(text)
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        (r"[0-9]{1,4}x[0-9]{1,4}", ["1x1", "1234x1"], ["x1", "12345x1", "1x", "1x1 "]),
        (r"([a-z0-9_-]+,?)+", ["a", "a,b", "a,"], ["", ",", "A"]),
        (r"a{,2}", ["", "a", "aa"], ["aaa"]),
        (r"a{2,}?b", ["aab", "aaaab"], ["ab"]),
        (r"a{x}|{}|b{", ["a{x}", "{}", "b{"], ["a", "b"]),
        (r"[]a]|[^]a]b", ["]", "a", "xb"], ["]b", "x"]),
        (r"\x41\u0042\N{DIGIT ONE}\.\-\\", ["AB1.-\\"], ["AB1x-\\"]),
        (r"(?i)straSSe[k]", ["STRASSEk", "strasseK"], ["straße"]),
        (r"(?:a|(?P<n>bc)|)d?", ["", "a", "bcd", "d"], ["ad d", "b"]),
        (r"^\Aab$\Z", ["ab"], ["ab\n", "xab"]),
        (r"a$\n?", ["a", "a\n"], ["ab"]),
        (r"\w+\s\d\S\W\D", ["ä 1x-x"], ["ä 1x-1"]),
        (r"(?s).", ["\n"], ["", "ab"]),
        (r".", ["a"], ["\n"]),
        (r"(){99999}(a*){3}", ["", "aaaa"], ["b"]),
        (r"", [""], ["a"]),
    ],
)
def test_what_fits_is_what_fits_for_python(pattern: str, fitting: list[str], others: list[str]) -> None:
    """Each construct that is supported, beside `re.fullmatch`."""
    made = Pattern(pattern)
    for text in fitting + others:
        assert made.fits(text) == (re.fullmatch(pattern, text) is not None) == (text in fitting), text


REFUSED = [
    *(r"(a)\1", r"(?=a)a", r"(?!a)b", r"(?<=a)b", r"(?>a)", r"(?P<n>a)(?P=n)", r"\bx", r"x\B", r"a++", r"a{2}+"),
    *(r"(?x) a", r"(?m)^a", r"(?i:a)", r"(?#x)a", r"(a)(?(1)b|c)", "a" * 2001, r"(a{1,100}){1,100}", r"\07", r"[a\]"),
    *(r"a**", r"(", r"*a", "(" * 900 + ")" * 900),
]


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_cannot_be_done_in_linear_time_is_refused(pattern: str) -> None:
    """P10: look-around, back-references and too many steps, and what is no pattern at all."""
    with pytest.raises(UnsupportedPatternError):
        patterns.compiled(pattern)


def test_random_patterns_are_judged_as_python_judges_them() -> None:
    """Two thousand patterns made of what is supported, each with texts of the same letters."""
    rng = random.Random(7)
    atoms = ["a", "b", ".", "[ab]", "[^a]", r"\w", "(a|b)", "(?:ab)", "(a*b|)", "^", "$", "{", "]", r"\Z", "(b?a)"]
    ends = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{,2}", "*?", "{2,}", "|"]
    judged = 0
    while judged < 2000:
        pattern = "".join(rng.choice(atoms) + rng.choice(ends) for _ in range(rng.randint(1, 5)))
        try:
            expected = re.compile(pattern)
        except re.error:
            continue
        judged += 1
        made = Pattern(pattern)
        for _ in range(6):
            text = "".join(rng.choices("ab{]\n", k=rng.randint(0, 7)))
            assert made.fits(text) == (expected.fullmatch(text) is not None), (pattern, text)
