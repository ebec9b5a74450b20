"""What a shell is offered at Tab: only plain words, and only what the command can act on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer._click.shell_completion import get_completion_class
from typer.main import get_command

from queuectl.cli import completion, context, main
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, write_drop


@pytest.fixture(autouse=True)
def here(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool of the test."""
    monkeypatch.setenv("QUEUECTL_SPOOL", spool.root)
    context.reset()


def offered(line: str, shell: str = "bash") -> list[str]:
    """The words that are offered behind what was typed."""
    *args, incomplete = line.split(" ")
    completion.prepare()
    made = get_completion_class(shell)
    assert made is not None
    return [item.value for item in made(get_command(main.app), {}, "queuectl", "X").get_completions(args, incomplete)]


def put(spool: SpoolDir, state: str, *names: str) -> None:
    """Records of jobs by these names."""
    for name in names:
        write_drop(spool, f"{name}.json", {"command": "true"}, state)


def test_each_verb_is_offered_the_jobs_that_it_can_act_on(spool: SpoolDir) -> None:
    """cancel: what waits or runs; retry: what has ended; release: what is held; and so on."""
    for state in ("running", "done", "dlq"):
        put(spool, state, f"{state}1")
    put(spool, "pending", "waits", "later,due=20991124T031500Z,by=anna", "kept,hold")
    expected = {
        "cancel": ["waits", "running1", "later", "kept"],
        "retry": ["done1", "dlq1"],
        "dlq retry": ["dlq1"],
        "purge": ["done1", "dlq1"],
        "dlq purge": ["dlq1"],
        "hold": ["waits", "later"],
        "release": ["kept"],
        "edit": ["waits", "later", "kept", "dlq1"],
        "wait": ["waits", "running1", "later", "kept"],
        "show": ["waits", "running1", "later", "kept", "done1", "dlq1"],
    }
    assert {verb: offered(f"{verb} ") for verb in expected} == expected
    assert offered("show lat") == ["later"]


def test_states_tags_owners_settings_and_values_are_offered(spool: SpoolDir) -> None:
    """Each by the command that takes it."""
    desk = Desk(spool)
    desk.enqueue(tags=["nightly", "two words", "$(x)"], owner="anna")
    desk.close()
    assert offered("list --state ") == ["pending", "running", "done", "dlq", "cancelled", "rejected"]
    assert offered("list --state de") == ["dead"]
    assert offered("cancel --state ") == ["pending", "running"]
    assert offered("purge --state ") == ["done", "dlq"]
    assert offered("list --tag ") == offered("cancel --tag ni") == ["nightly"]
    assert offered("dlq list --owner a") == ["anna"]
    assert offered("config get max") == ["max-retries"]
    assert offered("config set durability ") == ["queue", "full", "off"]
    assert offered("config set metrics t") == ["true"]
    assert offered("config set keep-done ") == ["forever"]
    assert offered("config set max-retries ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_no_shell_is_offered_a_word_that_it_could_evaluate(spool: SpoolDir, shell: str) -> None:
    """P10: a file's name with signs of a shell is passed over, and a help is a state."""
    bad = ["$(touch x)", "`touch x`", "a;b", "a b", "-rf", "a*", "a'b", "..", "a\\b", "\u202ea", "a\tb"]
    put(spool, "pending", *(bad if os.name != "nt" else ["$(touch x)", "`touch x`", "a b"]), "good")
    assert offered("show ", shell) == ["good"]


def test_tab_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a spool nothing is offered, and nothing is made."""
    monkeypatch.delenv("QUEUECTL_SPOOL")
    assert offered("show ") == []
    assert not (tmp_path / "data").exists()


def test_the_spool_that_was_typed_is_looked_at(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and behind the command."""
    put(spool, "pending", "job1")
    monkeypatch.delenv("QUEUECTL_SPOOL")
    assert offered(f"--spool {spool.root} show ") == ["job1"]
    assert offered(f"show --spool {spool.root} ") == ["job1"]
