"""Tab in real shells: ids and options are completed, and zsh shows what they are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.terminal.terminal import TAB, Terminal, terminal

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
# zsh completes nothing before this; it stands in everybody's .zshrc.
READY = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u -D; "}


@contextmanager
def shell(name: str, spool: SpoolDir, folder: Path) -> Iterator[Terminal]:
    """A shell on a terminal, with `queuectl` in its path and the completion that `queuectl completion` prints."""
    if shutil.which(SHELLS[name][0]) is None:
        pytest.skip(f"{name} is not installed")
    program = folder / "bin" / "queuectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m queuectl "$@"\n')
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:/usr/bin:/bin", "QUEUECTL_SPOOL": spool.root, "PS1": "$ ", "HOME": str(folder)}
    with terminal(*SHELLS[name], env=env) as made:
        made.type(f'{READY[name]}eval "$(queuectl completion {name})"; clear; echo rea""dy\r')
        made.wait_for("ready\n$")
        yield made
        made.type("\x03")


@pytest.fixture
def jobs(spool: SpoolDir) -> SpoolDir:
    """Three jobs, two of which begin alike."""
    made = Spool(spool.root)
    for job_id in ("alpha-one", "alpha-two", "beta"):
        made.enqueue(f"echo {job_id}", id=job_id)
    return spool


def test_bash_completes_ids_and_options(jobs: SpoolDir, tmp_path: Path) -> None:
    """One that fits is written out; of several the common beginning, and the next Tabs list them."""
    with shell("bash", jobs, tmp_path) as made:
        made.type("queuectl show be" + TAB)
        made.wait_for("queuectl show beta")
        made.type("\x15queuectl logs al" + TAB)
        made.wait_for("queuectl logs alpha-")
        made.type(TAB + TAB)
        made.wait_for("alpha-one  alpha-two")
        made.type("\x15queuectl list --st" + TAB)
        made.wait_for("queuectl list --state")
        made.type("\x15queuectl stat" + TAB + TAB)
        made.wait_for("stats   status")


@pytest.mark.slow
def test_zsh_completes_and_tells(jobs: SpoolDir, tmp_path: Path) -> None:
    """zsh shows beside each id its state, and beside each option its help."""
    with shell("zsh", jobs, tmp_path) as made:
        made.type("queuectl show be" + TAB)
        made.wait_for("queuectl show beta")
        made.type("\x15queuectl show alpha" + TAB + TAB)
        made.wait_for("alpha-one", "-- pending", "alpha-two")
        made.type("\x15\x0cqueuectl list --" + TAB + TAB)
        made.wait_for("--limit", "-- Show at most this many jobs")


@pytest.mark.parametrize("name", ["bash", pytest.param("zsh", marks=pytest.mark.slow)])
def test_nothing_that_a_producer_wrote_is_run_at_tab(spool: SpoolDir, tmp_path: Path, name: str) -> None:
    """P10: ids, commands, tags and owners of producers reach no shell, whatever signs they hold."""
    ran = tmp_path / "ran"
    evil = [
        f"{quote}{mark}"
        for quote in ("", "\\", "'", '"', "\\\\", "'\\")
        for mark in (f"$(touch {ran})", f"`touch {ran}`")
    ]
    made = Spool(spool.root)
    for number, text in enumerate(evil):
        made.enqueue(f"echo {text}", id=f"alpha-{number}", tags=[text, f"alpha{text}", "alpha-tag"])
        stem = text.replace(str(ran), "ran")  # no slash in a file's name
        (Path(spool.folder("pending")) / f"alpha{stem}.json").write_text('{"command": "true"}')
    with shell(name, spool, tmp_path) as opened:
        opened.type(f"cd {tmp_path}; clear\r")
        for line in ("show al", "cancel al", "list --tag al"):
            opened.type(f"\x15\x0cqueuectl {line}{TAB}")
            opened.wait_for("alpha-")
            opened.type(TAB + TAB)
        opened.type('\x15\x0cecho rea""dy\r')
        opened.wait_for("ready\n")
    assert not ran.exists()
