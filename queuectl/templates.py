"""Commands that the settings name and a job only fills in: `[commands.NAME]` in queuectl.toml. Computes only.

A producer who is not trusted sends `{"template": "resize", "params": {"size": "80x60"}}`. What runs is the settings'
list of words; each placeholder is a whole word of it, so nothing a producer sends can become a second word, an option
or a piece of a shell's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from queuectl import times
from queuectl.errors import InvalidSettingsError

SECTION = "commands"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]+)\}")
_KEYS_OF = {
    "path": {"under", "exists"},
    "match": {"pattern"},
    "choice": {"of"},
    "int": {"min", "max"},
}


class Param(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one placeholder takes. Which keys count is said by `type`."""

    type: Literal["path", "match", "choice", "int"]
    under: str = ""
    """path: the folder, absolute, that it must be in once links are followed."""
    exists: bool = False
    """path: whether there must be something there when the job is taken in."""
    pattern: str = ""
    """match: a regular expression (Python's) that the whole text fits."""
    of: tuple[str, ...] = ()
    """choice: the texts allowed."""
    min: int | None = None
    max: int | None = None
    dash: bool = False
    """Whether it may begin with `-`, where programs look for options."""
    default: str | int | None = None
    """What is used where the job leaves it out; without one it must be given."""


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[commands.NAME]`: the words to run, with `{placeholders}`, and what its jobs are given."""

    argv: tuple[str, ...]
    params: dict[str, Param] = {}
    cwd: str = ""
    timeout: float | str | None = None
    max_retries: int | None = None
    env: dict[str, str] = {}


def parse(section: object, *, path: str) -> dict[str, Command]:
    """The commands that `[commands.*]` of the settings file at `path` names.

    Raises:
        InvalidSettingsError: the key and what is wrong with it.
    """
    try:
        commands = msgspec.convert(section, dict[str, Command])
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise _error(path, SECTION + where.rstrip("`").replace("[...]", ""), what) from error
    for name, command in commands.items():
        _check(path, name, command)
    return commands


def example() -> list[str]:
    """A command as it is written in a settings file, each line commented out, with what it means."""
    return [
        '# Commands that jobs of an inbox with mode = "templates" may name, and fill in where it says so.',
        "# [commands.resize]",
        '# argv = ["/usr/bin/convert", "{in}", "-resize", "{size}", "{out}"]',
        "# [commands.resize.params]",
        '# in = { type = "path", under = "/srv/in", exists = true }',
        '# size = { type = "match", pattern = "[0-9]{1,4}x[0-9]{1,4}" }',
        '# out = { type = "path", under = "/srv/out" }',
    ]


def _check(path: str, name: str, command: Command) -> None:
    key = f"{SECTION}.{name}"
    if not _NAME.fullmatch(name):
        raise _error(path, key, "a command's name holds only letters, digits, _ and -, at most 64")
    if not command.argv or not command.argv[0].strip() or any("\0" in word for word in command.argv):
        raise _error(path, f"{key}.argv", 'takes a list: a program and its arguments, such as ["convert", "{in}"]')
    if command.timeout is not None:
        try:
            times.parse_duration(command.timeout)
        except ValueError as error:
            raise _error(path, f"{key}.timeout", str(error)) from error
    named = placeholders(command.argv[1:])
    if _PLACEHOLDER.search(command.argv[0]):
        raise _error(path, f"{key}.argv", "a job must not choose the program: no placeholder in its first word")
    for word in command.argv:
        if _PLACEHOLDER.search(word) and not _PLACEHOLDER.fullmatch(word):
            raise _error(path, f"{key}.argv", f"{word!r}: a placeholder is a whole word, with nothing beside it")
    if missing := sorted(named - command.params.keys()):
        raise _error(path, f"{key}.params", f"does not say what {{{missing[0]}}} takes")
    if unused := sorted(command.params.keys() - named):
        raise _error(path, f"{key}.params.{unused[0]}", "is in no word of argv")
    for each, param in command.params.items():
        _check_param(path, f"{key}.params.{each}", param)


def _check_param(path: str, key: str, param: Param) -> None:
    given = {
        name
        for name in ("under", "exists", "pattern", "of", "min", "max")
        if getattr(param, name) not in ("", (), None, False)
    }
    if stray := sorted(given - _KEYS_OF[param.type]):
        raise _error(path, f"{key}.{stray[0]}", f"is nothing for the type {param.type}")
    if param.type == "match":
        try:
            re.compile(param.pattern)
        except re.error as error:
            raise _error(path, f"{key}.pattern", f"is no regular expression: {error}") from error
    needed = {"path": param.under, "match": param.pattern, "choice": param.of, "int": True}[param.type]
    if not needed:
        wanted = {"path": "under", "match": "pattern", "choice": "of"}[param.type]
        raise _error(path, f"{key}.{wanted}", "is missing")


def placeholders(words: tuple[str, ...]) -> set[str]:
    """The names of the placeholders in a list of words."""
    return {match[1] for word in words if (match := _PLACEHOLDER.fullmatch(word))}


def render(command: Command, params: Mapping[str, Any]) -> list[str]:
    """The words to run for one job."""
    raise NotImplementedError


def _error(path: str, key: str, what: str) -> InvalidSettingsError:
    return InvalidSettingsError(
        f"{path or 'queuectl.toml'}: {key}: {what}", path=path, key=key, hint="docs/security.md shows a whole example"
    )
