"""Describes errors of the command line in our own words; Typer's are Python's. Imported only for an error."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from typer._click.exceptions import BadOptionUsage, BadParameter, MissingParameter, NoSuchOption, UsageError

from queuectl.cli.exit_codes import WrongUsageError

if TYPE_CHECKING:
    from typer._click import Context

_TYPES = {"int": "a whole number", "int range": "a whole number", "float": "a number", "float range": "a number"}
_SHOWN_CHARS = 60


def in_words(error: UsageError) -> WrongUsageError:
    """Return the error of the command line in our own words."""
    where = error.ctx.command_path if error.ctx is not None else "queuectl COMMAND"
    lists = f"to list the options: {where} --help"
    if isinstance(error, NoSuchOption):
        near = near_option(error.ctx, error.option_name)
        hint = f"did you mean {near}?\n{lists}" if near else lists
        return WrongUsageError(f"there is no option {_cut(error.option_name)}", hint=hint)
    if isinstance(error, MissingParameter):
        of = f": {_choices(error)}" if _choices(error) else ""
        return WrongUsageError(f"{_name(error.param)} is missing{of}", hint=_usage(error.ctx, where))
    if isinstance(error, BadParameter):
        return WrongUsageError(f"{_name(error.param)}: {_takes(error)}", hint=lists)
    if isinstance(error, BadOptionUsage):
        return WrongUsageError(_about_value(error), hint=lists)
    text = error.format_message()
    if text.startswith("Got unexpected extra argument"):
        extra = text.partition("(s) (")[2].rstrip(")")
        return WrongUsageError(f"too many arguments: {_cut(extra)}", hint=_usage(error.ctx, where))
    if text.startswith("No such command"):
        return _no_command(error, text.partition("'")[2].rpartition("'")[0].partition("'")[0], where)
    text = text.replace("\n\t", " ").rstrip(".")
    return WrongUsageError(text[:1].lower() + text[1:], hint=f"{where} --help")


def near_option(ctx: Context | None, typed: str) -> str:
    """Return the option of a command that a word resembles, or ""."""
    if ctx is None:
        return ""
    known = [name for param in ctx.command.params for name in param.opts if name.startswith("--")]
    found = difflib.get_close_matches(typed.replace("_", "-"), known, n=1, cutoff=0.6)
    return found[0] if found else ""


def _no_command(error: UsageError, typed: str, where: str) -> WrongUsageError:
    known = list(getattr(error.ctx.command, "commands", ())) if error.ctx is not None else []
    near = difflib.get_close_matches(typed, known, n=1, cutoff=0.6)
    hint = f"did you mean {where} {near[0]}?" if near else f"the commands of {where}: {', '.join(known)}"
    return WrongUsageError(f"there is no command {_cut(f'{where} {typed}')}", hint=hint)


def _name(param: Any) -> str:
    """Return an option as you type it, or an argument as the help names it."""
    if param is None:
        return "a value"
    if getattr(param, "param_type_name", "") == "argument":
        return str(param.metavar or param.name).strip("[].").upper()
    return max(param.opts, key=len)  # type: ignore[no-any-return]


def _takes(error: BadParameter) -> str:
    """Return the values that an option takes, and the value that was typed."""
    typed, found, _ = error.message.partition(" is not ")
    kind: Any = getattr(error.param, "type", None)
    takes = _choices(error) or _TYPES.get(getattr(kind, "name", ""))
    if takes is None or not found:
        return error.message[:1].lower() + error.message[1:].rstrip(".")
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None:
        takes += f" of {low} or more" if high is None else f" from {low} to {high}"
    return f"takes {takes}, not {_cut(typed)}"


def _choices(error: BadParameter) -> str:
    """Return the words that a parameter accepts, or ""."""
    words = getattr(getattr(error.param, "type", None), "choices", None)
    return f"one of {', '.join(map(str, words))}" if words else ""


def _about_value(error: BadOptionUsage) -> str:
    """Describe an option without its value, or with a value that it does not take."""
    if "does not take a value" in error.message:
        return f"{error.option_name} takes no value"
    return f"{error.option_name} needs a value"


def _usage(ctx: Context | None, where: str) -> str:
    """Return the usage of a command."""
    if ctx is None:
        return f"{where} --help"
    return " ".join([where, *(piece.strip("{}") for piece in ctx.command.collect_usage_pieces(ctx))])


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
