"""Describes the mistakes in a document: every wrong key with its place. Computes only, after a check has failed.

`msgspec` finds the first mistake and describes it in Python's words. This module checks the same types by hand, so that
the answer names all mistakes and the allowed values of each key.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from queuectl.model.text import safe

# The most mistakes to name, and the most parts of a list or an object to check one by one: a file full of mistakes must
# not take seconds.
NAMED_AT_MOST = 10
_PARTS_AT_MOST = 1000
_SHOWN_CHARS = 40
_KEY_CHARS = 60
# Characters shown on each side of a place in a text.
_AROUND = 30
_QUOTES = "'`\u2018\u2019\u201c\u201d\u201e\xab\xbb"
_ESCAPES = {"\n": r"\n", "\t": r"\t"}
_WORD = re.compile(r"[A-Za-z_]\w*")
_ONE = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
_MANY = {str: "texts", int: "whole numbers", float: "numbers"}


class Mistake(NamedTuple):
    """A mistake: the key with the place in it (`env.LEVEL`, `tags[1]`), the mistake, and what to write instead."""

    place: str
    what: str
    hint: str = ""

    @property
    def text(self) -> str:
        """The mistake as a sentence."""
        return f"{self.place}: {self.what}" if self.place else self.what


def of_value(kind: Any, value: object, place: str) -> list[Mistake]:
    """Return the mistakes in a value of a type that `msgspec` converts."""
    return list(itertools.islice(_of_value(kind, value, place), NAMED_AT_MOST + 1))


def in_document(kind: Any, data: bytes) -> str:
    """Return in words why bytes are not a JSON document of a type."""
    try:
        value = json.loads(data)
    except json.JSONDecodeError as error:
        return f"{in_json(error)[0]}, at line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        return "it is not JSON"
    return in_words(mistake.text for mistake in of_value(kind, value, "")) or "it is not JSON"


def in_words(found: Iterable[str]) -> str:
    """Return several mistakes as one line."""
    texts = list(found)
    more = ["and more"] if len(texts) > NAMED_AT_MOST else []
    return "; ".join([*texts[:NAMED_AT_MOST], *more])


def shown(value: object) -> str:
    """Return a wrong value in the words of JSON and TOML."""
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if isinstance(value, int):
            return "a number that is too large" if value.bit_length() > 128 else f"the number {value}"
        return f"the number {value:.15g}"
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if hasattr(value, "isoformat"):  # of TOML
        return "a date or a time"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def quoted(text: str) -> str:
    """Return a text in double quotes, cut to a length for messages."""
    return json.dumps(text[:_SHOWN_CHARS] + ("..." if len(text) > _SHOWN_CHARS else ""), ensure_ascii=False)


def near(key: str, known: Iterable[str]) -> str:
    """Return the known key that an unknown key resembles, or ""."""
    folded = key[:_KEY_CHARS].lower().replace("-", "_")
    found = difflib.get_close_matches(folded, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def takes(kind: Any) -> str:
    """Return the allowed values of a type, as the end of "takes ..."."""
    own_words, kinds, low, high = _apart(kind)
    if own_words:
        return own_words
    return " or ".join(dict.fromkeys(_one(each, low, high) for each in kinds))


# ----------------------------------------------------------------------------------------------------------------- JSON


def in_json(error: json.JSONDecodeError) -> tuple[str, str]:
    """Return the mistake in a text that is not JSON, and what to write instead; the error has the place."""
    text, at = error.doc, error.pos
    here, rest, before = text[at : at + 1], text[at + 1 :].lstrip()[:1], text[:at].rstrip()[-1:]
    if error.msg.startswith("Unterminated string"):
        return "the text that begins here does not end", "close it with a double quote, or write the rest of the file"
    if not text[at:].strip():
        return "it ends too early", "write the rest of it"
    if (before == "," and here in "}]") or (here == "," and rest and rest in "}]"):
        closing = here if here != "," else rest
        return f"there is a comma before the closing {closing}", "remove that comma"
    if error.msg.startswith("Extra data"):
        return (
            "there is more text after its end",
            "write several jobs as an array [...], or one per line in a .jsonl file",
        )
    if here in _QUOTES:
        return f"{here} is not a quote of JSON", 'put texts and keys in double quotes: "..."'
    if here == "#" or text.startswith(("//", "/*"), at):
        return "JSON has no comments", 'remove the comment, or put it into the key "comment"'
    if error.msg.startswith("Invalid control character"):
        what = {"\n": "a line break", "\t": "a tab"}.get(here, "a control character")
        return f"a text contains {what}", f"write {_ESCAPES.get(here, 'a backslash, u and its four digits')} instead"
    if error.msg.startswith("Invalid \\"):
        return "a text contains an unknown escape sequence", "write two backslashes for a backslash"
    if word := _WORD.match(text, at):
        meant = {"true": "true", "false": "false", "none": "null", "null": "null"}.get(word[0].lower())
        hint = "put it in double quotes" if meant is None else f"write {meant}"
        return f"{word[0][:_SHOWN_CHARS]} is neither a text nor a number", hint
    if "':'" in error.msg:
        return "a colon is missing between a key and its value", "put a colon here"
    if "','" in error.msg:
        return "a comma is missing", "put a comma between two keys or two values"
    return "this is not JSON", 'write a job like {"command": "echo hello"}'


# ----------------------------------------------------------------------------------------------------------------- TOML

_TOML = (
    ("Cannot overwrite a value", "this key is set twice", "remove one of the two"),
    ("Cannot declare", "this table exists twice", "put its keys under one heading"),
    ("Expected '=' after a key", "an = is missing after the key", "write NAME = VALUE"),
    ("Expected newline", "there is more text after the value", "end the line there; put a text in double quotes"),
    ("Illegal character '\\n'", "a text does not end on its line", "close it with a double quote"),
    ("Unterminated string", "a text does not end", "close it with a double quote"),
    ("Unclosed array", "a list does not end", "close it with ]"),
    ("Unescaped '\\'", "a text contains an unknown escape sequence", "use single quotes: 'C:\\dir'"),
    ("Expected ']", "a ] is missing", "close the heading: [TABLE], or [[inbox]]"),
    ("Invalid value", "this is neither a number, true, false nor a text in quotes", "put a text in double quotes"),
)
_NO_VALUE = ("the value after = is missing", "for example: max_retries = 3")
# A line that ends after its =, perhaps with a comment.
_WITHOUT_VALUE = re.compile(r"\s*[\w.\"'-]+\s*=\s*(#.*)?")
_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")


def in_toml(error: Exception, text: str) -> tuple[str, str, str]:
    """Return the mistake in a text that is not TOML, the place in it with a mark below, and what to do."""
    why, hint = "this is neither NAME = VALUE nor [TABLE]", "correct this line"
    for begins, meaning, cure in _TOML:
        if str(error).startswith(begins):
            why, hint = meaning, cure
            break
    rows = text.rstrip().splitlines()
    if "Invalid value (at end" in str(error) and rows and _WITHOUT_VALUE.fullmatch(rows[-1]):
        return f"line {len(rows)}: {_NO_VALUE[0]}", place(text, len(rows), len(rows[-1]) + 1), _NO_VALUE[1]
    if found := _TOML_PLACE.search(str(error)):
        line = text.split("\n")[int(found[1]) - 1]
        if str(error).startswith("Invalid value") and _WITHOUT_VALUE.fullmatch(line):
            why, hint = _NO_VALUE
        return f"line {found[1]}: {why}", place(text, int(found[1]), int(found[2])), hint
    if str(error).startswith(("Cannot", "Expected")):
        return f"the last line: {why}", "", hint
    return "it ends in the middle of a value", "", "write the rest of it"


def place(text: str, line: int, column: int) -> str:
    """Return the text around a line and column, counted from 1, with a mark below, or "" without such a line."""
    rows = text.split("\n")
    if not 1 <= line <= len(rows):
        return ""
    row, at = rows[line - 1], column - 1
    start, end = max(0, at - _AROUND), at + _AROUND
    before = ("..." if start else "") + safe(row[start:at])
    return f"{before}{safe(row[at:end])}{'...' if end < len(row) else ''}\n{' ' * len(before)}^ here"


# ------------------------------------------------------------------------------------------------------------- the walk


def _of_value(kind: Any, value: object, place: str) -> Iterator[Mistake]:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError):
        pass
    else:
        return
    _, kinds, _, _ = _apart(kind)
    for each in kinds:
        if isinstance(value, Mapping) and _is_struct(each):
            yield from _of_struct(each, value, place)
            return
        parts = _parts(each, value, place)
        if parts is not None:
            found = False
            for element, part, where in itertools.islice(parts, _PARTS_AT_MOST):
                for mistake in _of_value(element, part, where):
                    found = True
                    yield mistake
            if found:
                return
    yield Mistake(place, f"takes {takes(kind)}, not {shown(value)}", _hint(kinds, value))


def _of_struct(kind: Any, value: Mapping[str, Any], place: str) -> Iterator[Mistake]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, field in fields.items():
        if key in value:
            yield from _of_value(field.type, value[key], _inside(place, key))
        elif field.required:
            yield Mistake(_inside(place, key), f"is missing; it takes {takes(field.type)}")
    strangers = (key for key in value if key not in fields) if kind.__struct_config__.forbid_unknown_fields else ()
    for key in itertools.islice(strangers, NAMED_AT_MOST + 1):
        known = near(key, fields)
        hint = f"did you mean {known}?" if known else f"the keys are {', '.join(fields)}"
        yield Mistake(_inside(place, key), f"unknown key; {hint}")


def _inside(place: str, key: object) -> str:
    """Return the place of a key of an object."""
    return f"{place}.{str(key)[:_KEY_CHARS]}" if place else str(key)[:_KEY_CHARS]


def _parts(kind: Any, value: object, place: str) -> Iterator[tuple[Any, object, str]] | None:
    """Return the parts of a list or an object with their types and places, or None if the type has no such parts."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(value, list | tuple) and origin in (list, tuple):
        return ((inner[0], part, f"{place}[{number}]") for number, part in enumerate(value))
    if isinstance(value, Mapping) and origin is dict:
        return ((inner[1], part, _inside(place, key)) for key, part in value.items())
    return None


def _hint(kinds: list[Any], value: object) -> str:
    """Return what to write instead if only the notation is wrong, or ""."""
    plain = {get_origin(each) or each for each in kinds}
    if isinstance(value, str) and plain & {int, float} and value.strip().lstrip("-").replace(".", "", 1).isdecimal():
        return f"write {value.strip()[:_SHOWN_CHARS]} without quotes"
    if isinstance(value, int | float) and not isinstance(value, bool) and plain == {str}:
        return "put it in quotes"
    if isinstance(value, str) and list in plain and str not in plain:
        return "put it in brackets: [...]"
    return ""


# ------------------------------------------------------------------------------------------------------------ the types


def _apart(kind: Any) -> tuple[str, list[Any], float | None, float | None]:
    """Split a type into its own words for the allowed values, its types except null, and their bounds."""
    own_words, low, high = "", None, None
    while get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        for note in notes:
            if isinstance(note, msgspec.Meta):
                own_words = own_words or (note.extra or {}).get("takes", "")
                low = note.ge if low is None else low
                high = note.le if high is None else high
    if get_origin(kind) not in (Union, types.UnionType):
        return own_words, [kind], low, high
    kinds: list[Any] = []
    for each in get_args(kind):
        if each is not type(None):
            inner_words, inner, inner_low, inner_high = _apart(each)
            own_words = own_words or inner_words
            kinds += inner
            low = inner_low if low is None else low
            high = inner_high if high is None else high
    return own_words, kinds, low, high


def _one(kind: Any, low: float | None, high: float | None) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (list, tuple):
        of = _apart(inner[0])[1]
        return f"a list of {_MANY.get(of[0], 'values')}"
    if origin is dict or kind is dict or _is_struct(kind):
        return "an object of texts" if inner and inner[1] is str else "an object"
    if kind in (int, float) and low is not None:
        return f"{_ONE[kind]} of {low} or more" if high is None else f"{_ONE[kind]} from {low} to {high}"
    return _ONE.get(kind, "another value")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
