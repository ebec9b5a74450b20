"""Checks and fills in a command of `[commands]` for an inbox of files: `template = "ocr"`, `params = {size = "A4"}`.

Computes only. A param gets the text of `params`, with the placeholders of inboxes of files filled in. A param without
such a text and without a default, which has the name of a placeholder (`{file}`, `{stem}` ...), gets what that stands
for. Its type checks the value, as it checks one that a producer has sent (`command`): a file whose name makes a value
that the type refuses is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from queuectl.errors import InvalidJobError
from queuectl.model import command, file_command
from queuectl.model.command import Command, Param, Resolve
from queuectl.model.file_command import PLACEHOLDERS

_INT = re.compile(r"-?[0-9]{1,18}")


class User(Protocol):
    """What uses a command of `[commands]`: an inbox of files."""

    @property
    def template(self) -> str:
        """The name of the command."""

    @property
    def params(self) -> Mapping[str, str | int]:
        """Texts for its params, with placeholders."""

    @property
    def out(self) -> str:
        """The folder that `{out}` stands for; "" if there is none."""


def mistakes(inbox: User, commands: Mapping[str, Command]) -> list[str]:
    """Return what is wrong with `template` and `params` of an inbox, each as `KEY: MISTAKE`."""
    found = commands.get(inbox.template)
    if found is None:
        known = f"use one of {', '.join(sorted(commands))}" if commands else "there is none yet"
        what = f"template: there is no command {inbox.template[:60]!r} in [commands]; add [commands.NAME], or {known}"
        return [what if commands else f"{what.partition(', or')[0]} with its argv"]
    return [f"params.{name}: {why}" for name, why in _mistakes(inbox, found)]


def _mistakes(inbox: User, found: Command) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    for name in sorted(inbox.params.keys() - found.params.keys()):
        known = ", ".join(sorted(found.params)) or "none"
        wrong.append((name[:60], f"the command {inbox.template!r} has no such param; it has: {known}"))
    for name, param in found.params.items():
        value = _source(inbox, name, param)
        if value is None:
            if param.default is None:
                hint = f'add {name} to params, such as {{ {name} = "{{file}}" }}'
                wrong.append((name, f"the command {inbox.template!r} needs a value for {{{name}}}; {hint}"))
        elif why := _why_bad(name, param, value, has_out=bool(inbox.out)):
            wrong.append((name, why))
    return wrong


def _why_bad(name: str, param: Param, value: str | int, *, has_out: bool) -> str:
    """Return the mistake in a value of `params`, or ""."""
    if isinstance(value, str):
        if why := file_command.why_bad_text(value, has_out=has_out):
            return why
        if file_command.has_placeholder(value):
            if value.startswith("-") and not param.dash:
                return f"{value!r:.60} begins with -, like an option; add dash = true to the param of the command"
            return ""
        value = file_command.filled(value, {})
    try:
        command.word_of(name, param, value, resolve=None)
    except InvalidJobError as error:
        return f"{value!r:.60} {str(error).partition(': ')[2]}"
    return ""


def _source(inbox: User, name: str, param: Param) -> str | int | None:
    """Return the text for a param, with placeholders; None if it has its default, or nothing."""
    if name in inbox.params:
        return inbox.params[name]
    if param.default is None and name in PLACEHOLDERS and (name != "out" or inbox.out):
        return f"{{{name}}}"
    return None


def sources(inbox: User, found: Command) -> dict[str, str | int]:
    """Return the texts, with placeholders, for the params of a command that get any."""
    made = {name: _source(inbox, name, param) for name, param in found.params.items()}
    return {name: value for name, value in made.items() if value is not None}


def fill_in(inbox: User, found: Command, values: Mapping[str, str], *, resolve: Resolve) -> list[str]:
    """Return the words to run for a file. A value that is filled in is not read again.

    Args:
        inbox: the inbox of the file.
        found: its command, which `mistakes` has passed.
        values: what the placeholders stand for (`file_command.values_of`).
        resolve: as for `command.render`.

    Raises:
        InvalidJobError: a param does not take the value that this file's name makes.
    """
    params: dict[str, str | int] = {}
    for name, source in sources(inbox, found).items():
        if isinstance(source, int):
            params[name] = source
            continue
        made = file_command.filled(source, values)
        # The types of params have a word about `-` of their own (`dash`).
        if file_command.would_be_option(source, made) and not made.startswith("-"):
            raise InvalidJobError(f"its name would become the option {made[:60]!r}", hint="rename the file")
        params[name] = int(made) if found.params[name].type == "int" and _INT.fullmatch(made) else made
    try:
        return command.render(found, params, resolve)
    except InvalidJobError as error:
        raise InvalidJobError(
            str(error), key=error.key, hint="rename the file, or ask the person who runs it"
        ) from None
