"""Matches regular expressions in a time proportional to the text's length, for every pattern and text. Computes only.

Python's own engine tries all ways one after the other, so a short text can keep it busy for years: `(a|a)*b`, `(a*)*b`,
`([a-z]+,?)+`. A producer must not be able to do that to an inbox process (promise P10). This engine reads the text once
and keeps the set of all possible places in the pattern (K. Thompson, CACM 11(6), 1968).

It supports a part of Python's syntax with the same meaning: characters, `.`, classes, escapes for one character,
groups, `|`, repetitions (lazy ones too), `^ $ \\A \\Z`, and the flags a, i and s at the beginning. `re` matches each
atom for one character, so `\\w` and `[^a-z]` are exactly Python's. Back references, look-around, `\\b` and possessive
repetitions (`\\1`, `(?=`, `a++`) are refused.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

# The time of a match also grows with the steps of the pattern: 2,000 steps and 256 characters take some 0.2 s.
STEPS_MOST = 2000
PATTERN_MAX_CHARS = 2000
_FLAGS = re.compile(r"\(\?([a-zA-Z]+)\)")
_ATOM = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[afnrtvdDwWsS]|[^0-9A-Za-z])"
    r"|\[\^?\]?(?:[^\]\\]|\\.)*\]"
    r"|[^\\()|*+?\[]",
    re.DOTALL,
)
_REPEAT = re.compile(r"([*+?]|\{([0-9]*)(?:(,)([0-9]*))?\})(\??)(\+?)")
_GROUP = re.compile(r"\((?:\?:|\?P<\w+>|(?!\?))")
_ANCHORS = {"^": "begin", r"\A": "begin", "$": "line end", r"\Z": "end", r"\z": "end"}


class UnsupportedPatternError(ValueError):
    """The pattern is not a regular expression, or uses an unsupported feature; the text names it."""


class _Step(NamedTuple):
    """One place in the pattern. `kind`: char (consumes a character that `fits`), an anchor, split or match."""

    kind: str
    to: tuple[int, ...] = ()
    fits: re.Pattern[str] | None = None


class Pattern:
    """A compiled pattern. Raises UnsupportedPatternError."""

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_MAX_CHARS:
            raise UnsupportedPatternError(f"it is longer than {PATTERN_MAX_CHARS} characters")
        try:
            re.compile(text)
            self._steps, self._begin = _Compiler(text).steps()
        except (re.error, OverflowError) as error:
            raise UnsupportedPatternError(f"it is not a regular expression: {error}") from error
        except RecursionError as error:
            raise UnsupportedPatternError("it is nested too deeply") from error

    def fits(self, text: str) -> bool:
        """Return whether the whole text matches, as with `re.fullmatch`."""
        now = self._reached([self._begin], text, 0)
        for at, character in enumerate(text):
            known: dict[re.Pattern[str], bool] = {}
            further: list[int] = []
            for number in now:
                step = self._steps[number]
                if step.fits is not None:
                    if step.fits not in known:
                        known[step.fits] = step.fits.fullmatch(character) is not None
                    if known[step.fits]:
                        further += step.to
            if not further:
                return False
            now = self._reached(further, text, at + 1)
        return any(self._steps[number].kind == "match" for number in now)

    def _reached(self, begin: list[int], text: str, at: int) -> set[int]:
        """Return all steps that are reachable from these without consuming a character."""
        found: set[int] = set()
        left = begin
        while left:
            number = left.pop()
            if number in found:
                continue
            found.add(number)
            step = self._steps[number]
            if step.kind == "split" or (step.kind not in ("char", "match") and _holds(step.kind, text, at)):
                left.extend(step.to)
        return found


@functools.lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Return the cached pattern of a text. Raises UnsupportedPatternError."""
    return Pattern(text)


def _holds(anchor: str, text: str, at: int) -> bool:
    if anchor == "begin":
        return at == 0
    return at == len(text) or (anchor == "line end" and at == len(text) - 1 and text[at] == "\n")


class _Compiler:
    """Compiles a pattern that `re` accepts into steps, through a tree of tuples: a kind and its parts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._flags = ""
        self._made: list[_Step] = []
        self._atoms: dict[str, re.Pattern[str]] = {}

    def steps(self) -> tuple[list[_Step], int]:
        """Return the steps, and the number of the first one."""
        if match := _FLAGS.match(self._text):
            if set(match[1]) - set("aisu"):
                raise UnsupportedPatternError(f"flags other than a, i and s are not supported: {match[0]}")
            self._flags, self._at = match[0], match.end()
        tree = self._choice()
        if self._at < len(self._text):
            raise UnsupportedPatternError(f"unsupported syntax at character {self._at + 1}")
        begin = self._build(tree, self._add(_Step("match")))  # from its end, so that each step knows the next
        return self._made, begin

    # ------------------------------------------------------------------------------------------------- the parser

    def _choice(self) -> tuple[object, ...]:
        ways = [self._sequence()]
        while self._text[self._at : self._at + 1] == "|":
            self._at += 1
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else ("choice", ways)

    def _sequence(self) -> tuple[object, ...]:
        parts: list[tuple[object, ...]] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            part = self._part()
            while match := self._repeat():
                least, most = match
                part = ("repeat", part, least, most)
            parts.append(part)
        return ("sequence", parts)

    def _part(self) -> tuple[object, ...]:
        text, at = self._text, self._at
        for sign in (text[at], text[at : at + 2]):
            if sign in _ANCHORS:
                self._at += len(sign)
                return ("anchor", _ANCHORS[sign])
        if text[at] == "(":
            if not (match := _GROUP.match(text, at)):
                raise UnsupportedPatternError(f"not supported: {text[at : at + 4]}...")
            self._at = match.end()
            inner = self._choice()
            self._at += 1  # the closing bracket, which `re` has checked
            return inner
        if not (match := _ATOM.match(text, at)):
            raise UnsupportedPatternError(f"not supported: {text[at : at + 2]}")
        self._at = match.end()
        return ("char", match[0])

    def _repeat(self) -> tuple[int, int | None] | None:
        match = _REPEAT.match(self._text, self._at)
        if not match or match[1] == "{}":
            return None  # a brace that does not begin a repetition is a character, as in Python
        if match[6]:
            raise UnsupportedPatternError(f"not supported: {match[0]}")
        self._at = match.end()
        if match[1] in ("*", "+", "?"):
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[match[1]]
        least = int(match[2] or 0)
        most = (int(match[4]) if match[4] else None) if match[3] else least
        return least, most

    # -------------------------------------------------------------------------------------------------- the steps

    def _add(self, step: _Step) -> int:
        if len(self._made) >= STEPS_MOST:
            what = f"its repetitions need more than {STEPS_MOST} steps; use *, or a smaller number"
            raise UnsupportedPatternError(what)
        self._made.append(step)
        return len(self._made) - 1

    def _build(self, tree: tuple[object, ...], then: int) -> int:
        """Add the steps of a tree, which continue with step `then`; return the first one."""
        kind, *parts = tree
        if kind == "char":
            return self._add(_Step("char", (then,), self._atom(str(parts[0]))))
        if kind == "anchor":
            return self._add(_Step(str(parts[0]), (then,)))
        if kind == "choice":
            return self._add(_Step("split", tuple(self._build(way, then) for way in _trees(parts[0]))))
        if kind == "sequence":
            for part in reversed(_trees(parts[0])):
                then = self._build(part, then)
            return then
        inner, least, most = parts
        assert isinstance(inner, tuple) and isinstance(least, int) and (most is None or isinstance(most, int))
        return self._repeated(inner, least, most, then)

    def _repeated(self, inner: tuple[object, ...], least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._add(_Step("split", (then,)))
            begin = self._build(inner, loop)
            self._made[loop] = _Step("split", (begin, then))
            at = loop
        else:
            at = then
            for _ in range(most - least):  # each can be the last: a(a(a)?)?, so that few places are possible at once
                at = self._add(_Step("split", (self._build(inner, at), then)))
        for _ in range(least):
            before, at = at, self._build(inner, at)
            if at == before:
                break  # an empty part stays empty
        return at

    def _atom(self, text: str) -> re.Pattern[str]:
        if text not in self._atoms:
            plain = text if text[0] in "\\[." else re.escape(text)
            self._atoms[text] = re.compile(self._flags + plain)
        return self._atoms[text]


def _trees(value: object) -> list[tuple[object, ...]]:
    assert isinstance(value, list)
    return value
