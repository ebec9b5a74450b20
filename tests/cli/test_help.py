"""The help: complete, and the same wherever it is told twice."""

from __future__ import annotations

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


def test_listing_names_every_command(queuectl: Commands) -> None:
    """`queuectl --help` shows the whole table without importing a command."""
    text = queuectl("--help").out
    for name, entry in group.COMMANDS.items():
        assert f"  {name} " in text
        assert entry.summary in text


@pytest.mark.parametrize("words", LEAVES)
def test_help_starts_with_an_example(words: str) -> None:
    """The first thing a command's help tells is a line that can be typed, naming that very command."""
    text = LEAVES[words].help
    assert text.startswith("Example: queuectl ")
    assert text.split("\n")[0].startswith(f"Example: queuectl {words}")


@pytest.mark.parametrize("name", group.COMMANDS)
def test_summary_is_the_commands_own(name: str) -> None:
    """The table's line is the first sentence of the command's help, where that is ours to write."""
    command: Any = group.load(name)
    text = " ".join(command.help.split("\n\n")[1 if command.help.startswith("Example") else 0].split())
    assert text.startswith(group.COMMANDS[name].summary)


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
    """A typing error in a command's name is a usage error that names what was meant."""
    assert f"did you mean queuectl {meant}?" in queuectl(typed, code=2).err


def test_no_command_shows_the_help(queuectl: Commands) -> None:
    """`queuectl` alone shows what there is, as wrong usage."""
    assert "Commands:" in queuectl(code=2).err
