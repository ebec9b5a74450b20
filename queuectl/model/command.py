"""Parses and fills in the commands for inboxes of mode `templates`: `[commands.NAME]` in queuectl.toml. Computes only.

An untrusted producer sends `{"template": "resize", "params": {"size": "80x60"}}`. The worker runs the words of the
command in the settings. Each placeholder is a whole word, so no value of a producer can become a second word, an option
or a part of a shell's text (promise P10).

The parser refuses commands that cannot be safe: a placeholder where a shell or an interpreter expects the text of a
program, and batch files, because cmd.exe reads their arguments again as commands.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from queuectl.errors import InvalidJobError, InvalidSettingsError
from queuectl.model import job, names, patterns, programs, section_errors, times
from queuectl.model.text import safe

SECTION = "commands"
_HINT = "docs/security.md shows a whole example"
_error = partial(section_errors.of_key, hint=_HINT)
_errors = partial(section_errors.of_mistakes, hint=_HINT)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]+)\}")
TEXT_MAX_CHARS = 4096
MATCH_MAX_CHARS = 256
_INT_LIMIT = 2**63
BATCH_ENDINGS = (".bat", ".cmd")
# Characters that a Windows program with a code page may read as a quote, a dash or a separator.
_BEST_FIT = frozenset(
    "\xad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
    "\uff02\u201c\u201d\u201e\u02ba\u2033\uff0f\uff3c\u2044\u2215\u2216\xa5\u20a9\uff1a"
)
_WINDOWS_REFUSED = frozenset('<>"|?*')
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
Resolve = Callable[["Param", str], str]
_KEYS_OF = {
    "path": {"under", "exists"},
    "match": {"pattern"},
    "choice": {"of"},
    "int": {"min", "max"},
}


class Param(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values that a placeholder accepts. `type` decides which other keys are allowed."""

    type: Literal["path", "match", "choice", "int"]
    under: str = ""
    """path: the absolute folder that the path must be in after links are followed."""
    exists: bool = False
    """path: whether it must exist when the job is accepted."""
    pattern: str = ""
    """match: a regular expression (`patterns`) that the whole text must match."""
    of: tuple[str, ...] = ()
    """choice: the allowed texts."""
    min: int | None = None
    max: int | None = None
    dash: bool = False
    """Whether the value may begin with `-`, like an option. (A path is absolute, so it never does.)"""
    default: str | int | None = None
    """The value if the job gives none; without a default, the job must give a value."""


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[commands.NAME]`: the words to run, with `{placeholders}`, and the settings of its jobs."""

    argv: tuple[str, ...]
    params: dict[str, Param] = {}
    cwd: str = ""
    timeout: float | str | None = None
    max_retries: int | None = None
    env: dict[str, str] = {}


def parse(section: object, *, path: str) -> dict[str, Command]:
    """Return the commands in `[commands.*]` of the settings file at `path`.

    Raises:
        InvalidSettingsError: the error names the key and its mistake.
    """
    try:
        commands = msgspec.convert(section, dict[str, Command])
    except msgspec.ValidationError as error:
        from queuectl.model import mistakes  # imported only for an error

        found = [mistake.text for mistake in mistakes.of_value(dict[str, Command], section, SECTION)]
        raise _errors(path, found or [f"{SECTION}: {error}"]) from error
    wrong: list[str] = []
    for name, command in commands.items():
        try:
            _check(path, name, command)
        except InvalidSettingsError as error:
            wrong += error.mistakes
    if wrong:
        raise _errors(path, wrong)
    return commands


def example() -> list[str]:
    """Return a commented example with explanations for a settings file."""
    return [
        '# Commands for inboxes with mode = "templates": a job names a command and gives values for its params.',
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
        raise _error(path, key, "the name of a command may contain only letters, digits, _ and -, at most 64")
    if not command.argv or not command.argv[0].strip() or any("\0" in word for word in command.argv):
        raise _error(path, f"{key}.argv", 'takes a list: a program and its arguments, such as ["convert", "{in}"]')
    _check_program(path, f"{key}.argv", command)
    if command.cwd and not is_absolute(command.cwd):
        raise _error(path, f"{key}.cwd", "takes an absolute folder; the default is the folder of `worker start`")
    if command.max_retries is not None and not 0 <= command.max_retries <= job.RETRIES_LIMIT:
        raise _error(path, f"{key}.max_retries", f"takes a whole number from 0 to {job.RETRIES_LIMIT}")
    try:
        job.check_texts(list(command.argv), command.cwd, command.env)
    except InvalidJobError as error:
        raise _error(path, f"{key}.{error.key}", str(error)) from error
    if command.timeout is not None:
        try:
            if times.parse_duration(command.timeout) == 0:
                raise ValueError("zero would end every attempt at once; remove it for no limit")
        except ValueError as error:
            raise _error(path, f"{key}.timeout", str(error)) from error
    named = placeholders(command.argv[1:])
    if _PLACEHOLDER.search(command.argv[0]):
        raise _error(path, f"{key}.argv", "a job must not choose the program: no placeholder in its first word")
    for word in command.argv:
        if _PLACEHOLDER.search(word) and not _PLACEHOLDER.fullmatch(word):
            raise _error(path, f"{key}.argv", f"{word!r}: a placeholder must be a whole word")
    if missing := sorted(named - command.params.keys()):
        raise _error(path, f"{key}.params", f"lacks an entry for {{{missing[0]}}}")
    if unused := sorted(command.params.keys() - named):
        raise _error(path, f"{key}.params.{unused[0]}", "is not used in argv")
    for each, param in command.params.items():
        _check_param(path, f"{key}.params.{each}", param)


def _check_param(path: str, key: str, param: Param) -> None:
    given = {
        name
        for name in ("under", "exists", "pattern", "of", "min", "max")
        if getattr(param, name) not in ("", (), None, False)
    }
    if stray := sorted(given - _KEYS_OF[param.type]):
        raise _error(path, f"{key}.{stray[0]}", f"is not for the type {param.type}")
    needed = {"path": param.under, "match": param.pattern, "choice": param.of, "int": True}[param.type]
    if not needed:
        wanted = {"path": "under", "match": "pattern", "choice": "of"}[param.type]
        raise _error(path, f"{key}.{wanted}", "is missing")
    if param.type == "path" and not is_absolute(param.under):
        raise _error(path, f"{key}.under", f"{param.under!r:.60} is not absolute")
    if param.type == "match":
        try:
            patterns.compiled(param.pattern)
        except patterns.UnsupportedPatternError as error:
            raise _error(path, f"{key}.pattern", str(error)) from error
    if param.min is not None and param.max is not None and param.min > param.max:
        raise _error(path, f"{key}.min", "is larger than max")
    if param.min is not None and param.min < 0 and not param.dash:
        raise _error(path, f"{key}.min", "a number below zero begins with -, like an option: add dash = true")
    for text in [*param.of, *([] if param.default is None or param.type == "path" else [param.default])]:
        try:
            word_of("it", param, text, resolve=None)
        except InvalidJobError as error:
            raise _error(path, key, f"{text!r:.60}: {error}") from error
    if param.type == "path" and not isinstance(param.default, str | None):
        raise _error(path, f"{key}.default", "takes a text")


def _check_program(path: str, key: str, command: Command) -> None:
    """Refuse a program through which a producer could choose more than words of its command line."""
    program = command.argv[0]
    if not is_absolute(program) and re.search(r"[\\/]|^[A-Za-z]:" if sys.platform == "win32" else "/", program):
        raise _error(path, key, f"{program!r:.60} is neither absolute nor a plain name; write its full path")
    if is_batch(program):
        what = f"{program!r:.60} is a batch file: cmd.exe would read its arguments again as commands"
        raise _error(path, key, what + "; name the program that it starts")
    if why := programs.why_unsafe(command.argv, partial(_kind, command)):
        raise _error(path, key, why)


def _kind(command: Command, word: str) -> int:
    """Return the kind of a word for `programs`. A `choice` counts as a word of the settings."""
    match = _PLACEHOLDER.fullmatch(word)
    param = command.params.get(match[1]) if match else None
    if match is None or (param is not None and param.type == "choice"):
        return programs.FIXED
    if param is None or param.type == "path":
        return programs.FREE
    if param.dash:
        return programs.DASH
    return programs.NUMBER if param.type == "int" else programs.FREE


def is_batch(program: str) -> bool:
    """Return whether Windows runs a file with cmd.exe. (It ignores dots and spaces at the end of a name.)"""
    return program.rstrip(". ").lower().endswith(BATCH_ENDINGS)


def is_absolute(path: str) -> bool:
    """Return whether a path is absolute on this system."""
    if sys.platform == "win32":
        return bool(_WINDOWS_DRIVE.match(path)) or path.startswith("\\\\")
    return posixpath.isabs(path)


def placeholders(words: tuple[str, ...]) -> set[str]:
    """Return the names of the placeholders in a list of words."""
    return {match[1] for word in words if (match := _PLACEHOLDER.fullmatch(word))}


# ---------------------------------------------------------------------------------------------------------- rendering


def render(command: Command, params: Mapping[str, Any], resolve: Resolve) -> list[str]:
    """Return the words to run for a job.

    Args:
        command: the command of the settings.
        params: the values from the producer.
        resolve: returns the path that a text names, for a parameter of the type path, or raises InvalidJobError
            (`confinement.resolve`).

    Raises:
        InvalidJobError: the error names the parameter and its mistake.
    """
    if unknown := sorted(params.keys() - command.params.keys()):
        known = ", ".join(sorted(command.params)) or "none"
        raise _refused(unknown[0], "there is no such parameter", f"the parameters are: {known}")
    given = {}
    for name, param in command.params.items():
        value = params.get(name)
        if name not in params:
            value = param.default
            if value is None:
                raise _refused(name, "is missing", f'add "{name}" to "params"')
        given[name] = word_of(name, param, value, resolve=resolve)
    return [given[match[1]] if (match := _PLACEHOLDER.fullmatch(word)) else word for word in command.argv]


def word_of(name: str, param: Param, value: object, *, resolve: Resolve | None) -> str:
    """Return one parameter as a word of the command; `resolve` is None for a value that no path is made of yet.

    Raises:
        InvalidJobError: the parameter does not take the value.
    """
    if param.type == "int":
        text = _int_text(name, param, value)
    else:
        text = _text(name, value, most=MATCH_MAX_CHARS if param.type == "match" else TEXT_MAX_CHARS)
        if param.type == "match" and not patterns.compiled(param.pattern).fits(text):
            raise _refused(name, f"does not match {param.pattern}")
        if param.type == "choice" and text not in param.of:
            raise _refused(name, f"is not one of {', '.join(param.of)}")
    if param.type == "path":
        if why := why_bad_path(text, windows=sys.platform == "win32"):
            raise _refused(name, why)
        return text if resolve is None else resolve(param, text)
    if text.startswith("-") and not param.dash:
        raise _refused(name, "begins with -, like an option")
    return text


def _int_text(name: str, param: Param, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refused(name, "takes a whole number, without quotes")
    low = -_INT_LIMIT if param.min is None else param.min
    high = _INT_LIMIT if param.max is None else param.max
    if not low <= value <= high:
        raise _refused(name, f"takes a whole number from {low} to {high}")
    return str(value)


def _text(name: str, value: object, *, most: int) -> str:
    if not isinstance(value, str):
        raise _refused(name, "takes a text")
    if len(value) > most:
        raise _refused(name, f"is longer than {most} characters")
    if "\0" in value:
        raise _refused(name, "contains a NUL character")
    if safe(value) != value:
        raise _refused(name, f"contains an invisible character: {safe(value)[:80]}")
    if sys.platform == "win32" and (why := why_misread(value)):
        raise _refused(name, why)
    return value


def why_misread(value: str) -> str:
    """Return which character of a text a Windows program may read as another one, or ""."""
    found = _BEST_FIT.intersection(value)
    return f"contains {min(found)!a}, which some programs read as a quote, a dash or a separator" if found else ""


def why_bad_path(text: str, *, windows: bool) -> str:
    """Return what is wrong with a path that a producer names, judged by its text only, or ""."""
    if not text.strip():
        return "is empty"
    if text.startswith("~"):
        return "begins with ~, which only a shell replaces; write the path"
    return _why_bad_windows_path(text) if windows else ""


def _why_bad_windows_path(text: str) -> str:
    if text.startswith(("\\\\", "//", "\\/", "/\\")):
        return "names another machine or a device"
    rest = text[3:] if _WINDOWS_DRIVE.match(text) else text
    if ":" in rest:
        return "contains a colon: a drive without a root, or a second stream of a file"
    if rest is text and text[0] in "\\/":
        return "begins with a separator but names no drive"
    if found := _WINDOWS_REFUSED.intersection(rest):
        return f"contains {min(found)}, which is not allowed in names"
    for part in re.split(r"[\\/]", rest):
        if part in ("", ".", ".."):
            continue
        if part[-1] in ". ":
            return f"has a part that ends in a dot or a space, which Windows drops: {part}"
        if names.is_device(part):
            return f"contains the name of a device: {part}"
    return ""


def _refused(name: str, what: str, hint: str = "") -> InvalidJobError:
    return InvalidJobError(f"params.{safe(name[:60])}: {what}", key=f"params.{name[:60]}", hint=hint)
