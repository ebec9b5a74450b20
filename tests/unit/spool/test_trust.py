"""trust: only who may write may run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX modes: on Windows the folder's ACL decides", allow_module_level=True)


from queuectl.api import Spool
from queuectl.errors import UntrustedSpoolError
from queuectl.pool.options import Options
from queuectl.pool.run import run_pool
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from tests.helpers import foreign_group


def test_new_spool_is_trusted(spool: SpoolDir) -> None:
    """What `init` makes can be worked on (P10)."""
    trust.check(spool)


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "pending",
        "running",
        "done",
        "dlq",
        "rejected",
        "schedules",
        ".queuectl",
        "queuectl.toml",
        ".queuectl/taken",
    ],
)
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_spool_that_others_can_write_to_is_refused(spool: SpoolDir, name: str, mode: int) -> None:
    """Whoever can put a file there has code run as our user (P10)."""
    path = Path(spool.root, name)
    if mode == 0o020:
        os.chown(path, -1, foreign_group())
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
    assert caught.value.hint.startswith("run this command as user ")


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
        lambda: run_pool(spool, made.settings, Options(slots=1, cwd=spool.root, drain=True), lambda _: None),
    ):
        with pytest.raises(UntrustedSpoolError, match="refusing to run commands from") as refused:
            act()
        assert "chmod" in refused.value.hint
    assert len(os.listdir(spool.folder("pending"))) == 1 + 1  # README.txt
    assert os.listdir(spool.folder("done")) == ["README.txt"]
