"""trust: inboxes, keys and commands let others do no more than the settings say."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX modes: on Windows the folder's ACL decides", allow_module_level=True)


from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import keyfile, opening
from queuectl.inbox import trust as inbox_trust
from queuectl.maintenance import doctor
from queuectl.model import settings as config
from queuectl.model.inbox import Inbox
from queuectl.spool.folder import SpoolDir
from tests.helpers import foreign_group, wait_until


class Drops:
    """A spool with a trusted inbox, keys and a command, in folders that can be opened up."""

    def __init__(self, spool: SpoolDir, tmp_path: Path) -> None:
        self.spool = spool
        self.inbox, self.keys, self.bin = (tmp_path / name for name in ("drop", "keys", "bin"))
        for folder in (self.inbox, self.keys, self.bin):
            folder.mkdir(mode=0o755)
        self.key, self.program = self.keys / "anna.key", self.bin / "tool"
        keyfile.create(str(self.key))
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        self.argv0 = str(self.program)
        self.paths = {"trusted": str(self.inbox), "signed": str(tmp_path / "signed")}

    def check(self) -> None:
        """What workers check when they start."""
        inbox_trust.check_all(self.spool, self.settings())

    def settings(self) -> config.Settings:
        """The settings of these folders."""
        return config.parse(
            f'[commands.c]\nargv = ["{self.argv0}"]\n'
            f'[[inbox]]\nmode = "trusted"\npath = "{self.paths["trusted"]}"\n'
            f'[[inbox]]\nmode = "signed"\nkeys = "{self.keys}"\npath = "{self.paths["signed"]}"\n'
        )


@pytest.fixture
def drops(spool: SpoolDir, tmp_path: Path) -> Drops:
    """See `Drops`."""
    return Drops(spool, tmp_path)


def test_a_share_that_hangs_does_not_keep_workers_from_starting(drops: Drops, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inbox that does not answer is judged when it does; the jobs of the spool do not wait for it."""
    open_inbox = opening.open_inbox

    def no_answer(spool: SpoolDir, inbox: Inbox) -> opening.Opened:
        if inbox.mode == "trusted":
            threading.Event().wait()
        return open_inbox(spool, inbox)

    monkeypatch.setattr(opening, "open_inbox", no_answer)
    monkeypatch.setattr(opening, "ANSWER_S", 1.0)
    drops.check()
    Path(drops.paths["signed"]).mkdir()
    Path(drops.paths["signed"]).parent.chmod(0o777)

    def is_refused() -> bool:
        try:
            drops.check()
        except UntrustedSpoolError as error:
            return "refusing the inbox signed" in str(error)
        return False  # on a busy machine it may not answer in time either

    wait_until(is_refused)  # the other inbox is judged all the same


def test_closed_inboxes_keys_and_programs_are_trusted(drops: Drops) -> None:
    """What only we can write to, and a signed inbox that anybody can, starts (P10)."""
    Path(drops.paths["signed"]).mkdir(mode=0o777)
    os.chmod(drops.paths["signed"], 0o777)
    drops.check()


@pytest.mark.parametrize("where", ["inbox", "key", "keys", "program", "bin"])
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_what_others_can_write_to_is_refused_and_the_hint_closes_it(drops: Drops, where: str, mode: int) -> None:
    """A trusted inbox, a key, a program, or the folder of one: its exact path, and a command that works (P10)."""
    path: Path = getattr(drops, where)
    if mode == 0o020:
        os.chown(path, -1, foreign_group())
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(UntrustedSpoolError) as caught:
        drops.check()
    assert caught.value.path == str(path)
    assert os.system(caught.value.hint) == 0
    drops.check()


def test_a_key_that_others_can_read_is_refused(drops: Drops) -> None:
    """As ssh does (P10)."""
    drops.key.chmod(0o640)
    with pytest.raises(UntrustedSpoolError) as caught:
        drops.check()
    assert caught.value.hint == f"chmod 600 {drops.key}"


def test_a_link_in_a_folder_of_others_is_refused(drops: Drops, tmp_path: Path) -> None:
    """Whoever can change the link chooses the program, however safe the one is that it leads to now (P10)."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "tool").symlink_to(drops.program)
    drops.argv0 = str(shelf / "tool")
    drops.check()
    shelf.chmod(0o777)
    with pytest.raises(UntrustedSpoolError) as caught:
        drops.check()
    assert caught.value.path == str(shelf)
    shelf.chmod(0o1777)
    drops.check()


@pytest.mark.parametrize("path", [".", "..", "pending", ".queuectl", ".queuectl/tmp", "dlq/sub"])
def test_an_inbox_that_holds_the_spool_or_lies_in_it_is_refused(drops: Drops, path: str) -> None:
    """The spool's own folders are no inboxes, and what is in an inbox is no spool (P10)."""
    drops.paths["signed"] = path
    with pytest.raises(InvalidSettingsError):
        drops.check()


def test_an_inbox_beside_the_states_may_be_in_the_spool(drops: Drops) -> None:
    """`path = "inbox/anna"` is relative to the spool's root."""
    drops.paths["signed"] = "inbox/anna"
    drops.check()


@pytest.mark.parametrize("content", [b"", b"short", b"a" * 64, bytes(range(200))])
def test_a_key_that_is_none_is_refused_by_its_path(drops: Drops, content: bytes) -> None:
    """Found at the start, not by the first job; what it holds is not told."""
    drops.key.write_bytes(content)
    with pytest.raises(InvalidSettingsError) as caught:
        drops.check()
    assert str(drops.key) in str(caught.value)


def test_a_program_that_is_not_on_the_system_s_path_is_refused(drops: Drops) -> None:
    """The pool's own PATH does not count for a template."""
    drops.argv0 = "no-such-program"
    with pytest.raises(InvalidSettingsError) as caught:
        drops.check()
    assert caught.value.key == "commands.c.argv"
    drops.argv0 = "sh"
    drops.check()


def test_doctor_has_a_line_for_each(drops: Drops) -> None:
    """`doctor` says the same, with what to do."""
    os.unlink(drops.spool.settings_path)
    Path(drops.spool.settings_path).write_text(
        f'[commands.c]\nargv = ["{drops.argv0}"]\n[[inbox]]\nmode = "signed"\npath = "in"\nkeys = "{drops.keys}"\n'
    )
    assert [(line.name, line.level) for line in doctor.trusted_settings_lines(drops.spool)] == [
        ("inboxes", "ok"),
        ("keys", "ok"),
        ("commands", "ok"),
    ]
    drops.key.chmod(0o644)
    drops.bin.chmod(0o777)
    lines = {line.name: line for line in doctor.trusted_settings_lines(drops.spool)}
    assert {name: line.level for name, line in lines.items()} == {"inboxes": "ok", "keys": "fail", "commands": "fail"}
    assert lines["keys"].hint.startswith("chmod 600") and str(drops.bin) in lines["commands"].hint


def test_an_inbox_of_files_outside_the_folder_of_its_command_does_not_start(drops: Drops, tmp_path: Path) -> None:
    """P10: each of its files would be refused, so the settings are, with what to change."""
    (tmp_path / "scans").mkdir(mode=0o755)
    text = '[commands.c]\nargv = ["{}", "{{file}}"]\n[commands.c.params]\nfile = {{ type = "path", under = "{}" }}\n'
    inbox = f'[[inbox]]\nmode = "files"\npath = "{tmp_path}/scans"\ntemplate = "c"\n'
    inbox_trust.check_all(drops.spool, config.parse(text.format(drops.argv0, tmp_path) + inbox))
    with pytest.raises(InvalidSettingsError, match=r"NAME is not in .*/bin") as caught:
        inbox_trust.check_all(drops.spool, config.parse(text.format(drops.argv0, drops.bin) + inbox))
    assert caught.value.hint.startswith("set commands.c.params.file.under")
