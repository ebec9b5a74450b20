"""Turns the messages of the cluster, which are named tuples, into JSON text and back. Computes only.

`decode` checks types and sizes, so that what comes from another machine is refused, not believed.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import types
import typing
from typing import Any, TypeVar

# No message is longer. The start of a batch is split by the pool, because one command may have 1 MB of variables.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_LIST = 20_000
"""No list in a message is longer."""

_Message = TypeVar("_Message")


class ProtocolError(ValueError):
    """A message is not what it should be. The text says which key, and what is wrong with it."""


def encode(message: tuple[Any, ...]) -> str:
    """Return a message (one of the named tuples) as text, in one line.

    Raises:
        ProtocolError: it is longer than MAX_MESSAGE_BYTES.
    """
    text = json.dumps(_plain(message), separators=(",", ":"), ensure_ascii=True)
    if len(text) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message of {len(text)} bytes is too long: {MAX_MESSAGE_BYTES} are allowed")
    return text


def decode(kind: type[_Message], text: str | bytes) -> _Message:
    """Return the message of this kind that a text holds. Unknown keys are left out, keys with a default may be missing.

    Raises:
        ProtocolError: the text is too long, no JSON, or a key is missing or has another type.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message of {len(text)} bytes is too long: {MAX_MESSAGE_BYTES} are allowed")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
    message: _Message = _typed(kind, found, kind.__name__)
    return message


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return {name: _plain(each) for name, each in zip(value._fields, value, strict=True)}  # type: ignore[attr-defined]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


@functools.cache
def _fields(kind: type[Any]) -> list[tuple[str, Any]]:
    return list(typing.get_type_hints(kind).items())


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Return a value of JSON as `kind`. `where` is its place in the message."""
    if kind in (str, int, bool):
        if type(value) is kind:
            return value
    elif kind is float:
        if type(value) in (int, float) and abs(value) < 1e15:
            return float(value)
    elif kind is bytes:
        if type(value) is str:
            try:
                return base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                pass
    elif isinstance(kind, types.UnionType):
        return _one_of(typing.get_args(kind), value, where)
    elif kind is types.NoneType:
        if value is None:
            return None
    elif typing.get_origin(kind) is list:
        if type(value) is list and len(value) <= MAX_LIST:
            (each,) = typing.get_args(kind)
            return [_typed(each, item, where) for item in value]
    elif typing.get_origin(kind) is dict:
        if type(value) is dict and len(value) <= MAX_LIST:
            _, each = typing.get_args(kind)
            return {name: _typed(each, item, where) for name, item in value.items()}
    elif type(value) is dict:
        return _tuple_of(kind, value, where)
    raise ProtocolError(f"{where}: {_named(kind)} is needed, not {json.dumps(value)[:60]}")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _typed(kind, value, where)
        except ProtocolError:
            continue
    raise ProtocolError(f"{where}: {' or '.join(map(_named, kinds))} is needed, not {json.dumps(value)[:60]}")


def _tuple_of(kind: Any, value: dict[str, Any], where: str) -> Any:
    made = {}
    for name, each in _fields(kind):
        if name in value:
            made[name] = _typed(each, value[name], f"{where}.{name}")
        elif name not in kind._field_defaults:
            raise ProtocolError(f"{where}.{name} is missing")
    return kind(**made)


def _named(kind: Any) -> str:
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes in base64"}
    if kind is types.NoneType:
        return "null"
    origin = typing.get_origin(kind)
    return words.get(kind) or {list: "a list", dict: "an object"}.get(origin) or "an object"
