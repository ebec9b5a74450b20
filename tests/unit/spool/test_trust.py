"""trust: only who may write may run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX modes: on Windows the folder's ACL decides", allow_module_level=True)

import pwd

from queuectl.api import Spool
from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import keyfile
from queuectl.maintenance import doctor
from queuectl.model import settings as config
from queuectl.pool.options import Options
from queuectl.pool.run import run_pool
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir


def test_new_spool_is_trusted(spool: SpoolDir) -> None:
    """What `init` makes can be worked on (P10)."""
    trust.check(spool)


@pytest.mark.parametrize(
    "name", [".", "pending", "running", "done", "dlq", "rejected", ".queuectl", "queuectl.toml", ".queuectl/taken"]
)
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_spool_that_others_can_write_to_is_refused(spool: SpoolDir, name: str, mode: int) -> None:
    """Whoever can put a file there has code run as our user (P10)."""
    path = Path(spool.root, name)
    if mode == 0o020:
        os.chown(path, -1, _foreign_group())
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(UntrustedSpoolError) as caught:
        trust.check(spool)
    assert caught.value.path == os.path.normpath(path)
    assert caught.value.hint.startswith("chmod -R go-w ")
    assert spool.root in caught.value.hint


def test_the_command_of_the_hint_closes_it(spool: SpoolDir) -> None:
    """The person is given a command that works (P10)."""
    os.chmod(spool.folder("pending"), 0o777)
    with pytest.raises(UntrustedSpoolError) as caught:
        trust.check(spool)
    assert os.system(caught.value.hint) == 0
    trust.check(spool)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_folder_of_somebody_else_is_refused(spool: SpoolDir) -> None:
    """An owner can always write, whatever the mode says (P10)."""
    os.chown(spool.folder("pending"), 65534, -1)
    with pytest.raises(UntrustedSpoolError) as caught:
        trust.check(spool)
    assert caught.value.hint.startswith("chown -R ")
    os.chown(spool.root, 65534, -1)
    with pytest.raises(UntrustedSpoolError) as caught:
        trust.check(spool)
    assert "chown" not in caught.value.hint  # it is somebody else's spool
    assert caught.value.hint.startswith("run this as user ")


def test_missing_folder_is_not_untrusted(spool: SpoolDir) -> None:
    """What does not exist lets nobody in."""
    shutil.rmtree(spool.folder("rejected"))
    os.unlink(spool.settings_path)
    trust.check(spool)


def test_spool_with_a_space_in_its_name_gets_a_hint_that_can_be_typed(tmp_path: Path) -> None:
    """The command of the hint is quoted."""
    spool = SpoolDir(tmp_path / "my spool")
    spool.make_folders()
    os.chmod(spool.root, 0o777)
    with pytest.raises(UntrustedSpoolError) as caught:
        trust.check(spool)
    assert f"'{spool.root}'" in caught.value.hint


def _foreign_group() -> int:
    """A group that we may give files to and that is not ours alone: what only we are in is trusted."""
    if os.geteuid() == 0:
        return 65534
    own = pwd.getpwuid(os.geteuid()).pw_gid
    others = [gid for gid in os.getgroups() if gid != own]
    if not others:
        pytest.skip("needs root, or a user who is in a second group")
    return others[0]


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
        trust.check_all(self.spool, self.settings())

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
        os.chown(path, -1, _foreign_group())
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


@pytest.mark.parametrize("theirs", [".", "pending", ".queuectl", "queuectl.toml"])
def test_the_library_refuses_a_spool_that_others_can_write_to(spool: SpoolDir, theirs: str) -> None:
    """P10: `Spool.enqueue` and `run_pool` from Python, as the command line does; nothing is put in and nothing runs."""
    made = Spool(spool.root)
    made.enqueue("true")
    path = os.path.join(spool.root, theirs)
    os.chmod(path, os.stat(path).st_mode | 0o002)
    for act in (
        lambda: made.enqueue("true"),
        lambda: made.enqueue_many([{"command": "true"}]),
        lambda: run_pool(spool, made.settings, Options(workers=1, cwd=spool.root, drain=True), lambda _: None),
    ):
        with pytest.raises(UntrustedSpoolError, match="refusing to run commands from") as refused:
            act()
        assert "chmod" in refused.value.hint
    assert len(os.listdir(spool.folder("pending"))) == 1 + 1  # README.txt
    assert os.listdir(spool.folder("done")) == ["README.txt"]
