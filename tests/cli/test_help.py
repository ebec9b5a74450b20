"""The help: complete, and the same in every listing."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.core import TyperGroup

from queuectl.cli import group
from tests.cli.commands import Commands


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    for name in group.COMMANDS:
        command: Any = group.load(name)
        if isinstance(command, TyperGroup):
            yield from ((f"{name} {sub}", each) for sub, each in command.commands.items())
        else:
            yield name, command


LEAVES = dict(leaves())
GROUPED = {name: group.load(name) for name in group.COMMANDS if isinstance(group.load(name), TyperGroup)}


def test_listing_names_every_command(queuectl: Commands) -> None:
    """`queuectl --help` shows the whole table in its groups without importing a command."""
    text = queuectl("--help").out
    for title, entries in group.GROUPS.items():
        part = text[text.index(f"{title}:") :].partition("\n\n")[0]
        for name, entry in entries.items():
            assert f"  {name} " in part
            assert entry.summary in part


@pytest.mark.parametrize("words", [*LEAVES, *GROUPED])
def test_help_begins_with_a_line_in_the_imperative_and_an_example(words: str) -> None:
    """A command's help begins with what it does, in one line, then with lines to type that name that very command."""
    command: Any = LEAVES.get(words) or GROUPED[words]
    summary, example, *_ = inspect.cleandoc(command.help).split("\n\n")
    assert re.fullmatch(r"(?!\w+(s|ed|ing) )[A-Z]\w+,? [^\n]+\.", summary), summary
    lines = example.removeprefix("\b\nExamples:").removeprefix("Example:").split("\n")
    assert any(line.strip().startswith(f"queuectl {words}") for line in lines), example
    assert example.startswith(("Example: ", "\b\nExamples:\n  "))


@pytest.mark.parametrize("name", group.COMMANDS)
def test_summary_is_the_commands_own(name: str) -> None:
    """The table's line is the first line of the command's help."""
    command: Any = group.load(name)
    assert inspect.cleandoc(command.help).split("\n\n")[0] == group.COMMANDS[name].summary


@pytest.mark.parametrize("words", [words for words in LEAVES if " " in words])
def test_summary_of_a_subcommand_is_its_own(words: str) -> None:
    """The line in the listing of `queuectl worker --help` is the first line of the subcommand's help."""
    command: Any = LEAVES[words]
    assert command.short_help == inspect.cleandoc(command.help).split("\n\n")[0]


@pytest.mark.parametrize("words", LEAVES)
def test_every_option_says_what_it_does(words: str) -> None:
    """No option and no argument is without an explanation."""
    for param in LEAVES[words].params:
        assert param.help, (words, param.name)


@pytest.mark.parametrize("words", LEAVES)
def test_help_is_shown(queuectl: Commands, words: str) -> None:
    """--help of every command works, in both spellings."""
    assert queuectl(*words.split(), "--help").out == queuectl(*words.split(), "-h").out


def test_every_command_takes_the_spool(queuectl: Commands) -> None:
    """--spool may stand before or after the command."""
    for words, command in LEAVES.items():
        assert "spool" in [param.name for param in command.params], words


@pytest.mark.parametrize(("typed", "meant"), [("lst", "list"), ("enque", "enqueue"), ("staus", "status")])
def test_wrong_command_is_told_the_near_one(queuectl: Commands, typed: str, meant: str) -> None:
    """A typing error in a command's name is a usage error that names the nearest command."""
    assert f"did you mean queuectl {meant}?" in queuectl(typed, code=2).err


def test_no_command_shows_the_help(queuectl: Commands) -> None:
    """`queuectl` alone shows what there is, as wrong usage."""
    assert "Getting started:" in queuectl(code=2).err


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("words", ["", "worker", "dlq", "rejected"])
def test_help_of_a_group_keeps_its_lines_on_a_terminal(
    queuectl: Commands, monkeypatch: pytest.MonkeyPatch, words: str, columns: int
) -> None:
    """Without a subcommand, a terminal shows the same lines as `--help`: they are not broken a second time."""
    monkeypatch.setenv("COLUMNS", str(columns))
    queuectl.on_terminal = True
    shown = queuectl(*words.split(), code=2).err
    assert shown == queuectl(*words.split(), "--help").out
    assert max(map(len, shown.splitlines())) <= columns
