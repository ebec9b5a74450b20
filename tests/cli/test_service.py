"""`queuectl service`: shown first, written where the system looks, started and taken away by the system's commands."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's own units lie."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "config"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path / "config" / "systemd" / "user"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that logs its arguments, one line per call, and fails if there is a file `fail` next to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> "{folder}/asked"\n[ ! -e "{folder}/fail" ] || {{ echo no bus >&2; exit 1; }}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "asked"


def test_print_is_a_whole_definition_of_each_kind(queuectl: Commands, spool: SpoolDir) -> None:
    """Each kind can be shown on every system, and names the spool, the workers and nothing else on stdout."""
    assert f'"{spool.root}"'.replace("\\", "\\\\") in queuectl("service", "print", "--kind", "systemd").out
    body = plistlib.loads(queuectl("service", "print", "--kind", "launchd", "--count", "3").out.encode())
    assert body["ProgramArguments"][-2:] == ["--count", "3"]
    assert spool.root in body["ProgramArguments"]
    root = ET.fromstring(queuectl("service", "print", "--kind", "task").out)
    assert root.tag.endswith("Task")


def test_print_writes_nothing(queuectl: Commands, units: Path) -> None:
    """Looking is free."""
    queuectl("service", "print")
    assert not units.parent.parent.exists()


def test_print_knows_three_kinds(queuectl: Commands) -> None:
    """Another kind is wrong usage that names the three."""
    assert "launchd" in queuectl("service", "print", "--kind", "cron", code=2).err


def test_a_name_is_a_name(queuectl: Commands) -> None:
    """A name cannot lead out of the folder of units."""
    assert "is not allowed" in queuectl("service", "print", "--name", "../x", code=2).err
    assert "queuectl-night.service" in queuectl("service", "print", "--kind", "systemd", "--name", "night").out


@linux
def test_install_writes_what_print_shows_and_runs_nothing(queuectl: Commands, units: Path, asked: Path) -> None:
    """Without --now it shows and writes the definition, and names the commands that start the service."""
    result = queuectl("service", "install", "--count", "2", "--yes")
    path = Path(result.out.strip())
    assert path.parent == units
    assert path.read_text(encoding="utf-8") == queuectl("service", "print", "--count", "2").out
    assert "ExecStart=" in result.err
    assert f"systemctl --user enable {path.name}" in result.err
    assert not asked.exists()
    assert list(units.iterdir()) == [path]


def test_install_asks_first(queuectl: Commands, units: Path) -> None:
    """Without a terminal to ask on, it shows the definition and writes nothing without --yes."""
    result = queuectl("service", "install", code=2)
    assert "--yes" in result.err
    assert "queuectl" in result.err
    assert not units.parent.parent.exists()


@linux
def test_install_writes_nothing_to_a_spool_that_others_can_change(
    queuectl: Commands, units: Path, spool: SpoolDir
) -> None:
    """P10: no missing folder is made before the check."""
    shutil.rmtree(spool.folder("done"))
    os.chmod(spool.root, 0o777)
    result = queuectl("service", "install", "--yes", code=None)
    assert result.code != 0 and "refusing" in result.err
    assert not os.path.lexists(spool.folder("done")) and not units.exists()


@linux
def test_install_now_starts_and_uninstall_reverses(queuectl: Commands, units: Path, asked: Path) -> None:
    """What install made is gone after uninstall: the unit is stopped, deleted and forgotten."""
    name = Path(queuectl("service", "install", "--now", "--yes").out.strip()).name
    assert asked.read_text().splitlines() == ["--user daemon-reload", f"--user enable {name}", f"--user restart {name}"]
    asked.unlink()
    assert "--yes" in queuectl("service", "uninstall", code=2).err
    assert (units / name).exists()
    queuectl("service", "uninstall", "--yes")
    assert asked.read_text().splitlines() == [f"--user disable --now {name}", "--user daemon-reload"]
    assert list(units.iterdir()) == []


@linux
def test_installing_again_replaces(queuectl: Commands, units: Path) -> None:
    """A second install says that it replaces, and leaves one file with the new text."""
    queuectl("service", "install", "--yes")
    result = queuectl("service", "install", "--count", "4", "--yes")
    assert "replaces" in result.err
    assert '"--count" "4"' in Path(result.out.strip()).read_text(encoding="utf-8")
    assert len(list(units.iterdir())) == 1


@linux
def test_a_command_that_fails_is_told_with_its_words(queuectl: Commands, units: Path, asked: Path) -> None:
    """Where systemd does not answer, the error is its own; an uninstall deletes the file all the same."""
    (asked.parent / "fail").touch()
    result = queuectl("service", "install", "--now", "--yes", code=1)
    assert "no bus" in result.err
    assert "no bus" in queuectl("service", "uninstall", "--yes").err
    assert list(units.iterdir()) == []


@linux
def test_uninstall_works_when_the_spool_is_gone(queuectl: Commands, units: Path, asked: Path, spool: SpoolDir) -> None:
    """Whoever deleted the folder first can still get rid of its service."""
    queuectl("service", "install", "--yes")
    shutil.rmtree(spool.root)
    queuectl("service", "uninstall", "--yes")
    assert list(units.iterdir()) == []


def test_uninstall_of_nothing_is_told(queuectl: Commands, units: Path) -> None:
    """What is not installed cannot be uninstalled; the other place is named."""
    assert "--system" in queuectl("service", "uninstall", "--yes", code=1).err


@linux
def test_an_untrusted_spool_is_not_installed(queuectl: Commands, units: Path, spool: SpoolDir) -> None:
    """No service is made for a spool that others can write to (P10)."""
    os.chmod(spool.root, 0o777)
    assert "refusing" in queuectl("service", "install", "--yes", code=1).err
    assert not units.exists()


@linux
def test_a_program_that_works_only_here_is_not_installed(
    queuectl: Commands, units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service has no PYTHONPATH and not this folder: a Python that needs them for queuectl is refused."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(other))
    result = queuectl("service", "install", "--yes", code=1)
    assert "pip install" in result.err
    assert not units.exists()


@linux
def test_the_folder_of_the_system_is_root_s(
    queuectl: Commands, units: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the right to write there, the hint names sudo."""
    from queuectl.system import disk

    def call(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk, "make_folder", call)
    result = queuectl("service", "install", "--system", "--yes", code=1)
    assert "sudo " in result.err
    assert "/etc/systemd/system/" in result.err


def test_a_pool_without_streams_works(spool: SpoolDir) -> None:
    """What the Task Scheduler starts has no standard streams at all (pythonw.exe), and runs jobs like any pool."""
    job_id = Spool(spool.root).enqueue("exit 0")
    code = "import sys; sys.stdin = sys.stdout = sys.stderr = None; from queuectl.__main__ import main; main()"
    argv = [sys.executable, "-c", code, "--spool", spool.root, "worker", "start", "--drain"]
    assert subprocess.run(argv, timeout=90, check=False).returncode == 0
    assert Spool(spool.root).get(job_id).state == "done"


@linux
def test_a_node_is_installed_without_a_spool(
    queuectl: Commands, units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--node` writes the unit of a node, and refuses keys that it could not use."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    pytest.importorskip("cryptography", reason="the extra dask is not installed")
    from queuectl.cluster import keys

    monkeypatch.chdir(tmp_path)
    folder = str(tmp_path / "keys")
    node = ("--node", "tls://127.0.0.1:8786", "--keys", folder)
    assert "ca.pem" in queuectl("service", "install", *node, "--yes", code=1).err
    keys.make(folder)
    queuectl("service", "install", *node, "--slots", "4", "--resource", "GPU=1", "--yes")
    unit = (units / "queuectl-node.service").read_text(encoding="utf-8")
    assert f'"--keys" "{folder}" "--slots" "4" "--resource" "GPU=1"' in unit
    assert unit == queuectl("service", "print", *node, "--slots", "4", "--resource", "GPU=1").out
