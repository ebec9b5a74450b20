"""`queuectl doctor`: what it prints, and how it ends."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.model.lifecycle import DONE
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, volume
from tests.cli.commands import Commands, run
from tests.helpers import names_in, wait_until


def test_piped_it_is_four_columns(queuectl: Commands) -> None:
    """Level, name, text and hint, one line each, for scripts; a summary on stderr."""
    result = queuectl("doctor")
    assert all(len(row) == 4 for row in result.rows)
    assert {row[0] for row in result.rows} <= {"ok", "warn"}
    assert {"locks", "rename", "file_system"} <= {row[1] for row in result.rows}
    assert re.search(r"usable|passed", result.err)


def test_json_has_the_figures(queuectl: Commands, spool: SpoolDir) -> None:
    """--json carries each line with its measured figures."""
    told = queuectl("doctor", "--json").json
    assert (told["version"], told["path"]) == (1, spool.root)
    assert told["worst"] in ("ok", "warn")
    lines = {line["name"]: line for line in told["lines"]}
    assert set(lines["rename"]) == {"name", "level", "text", "hint", "measured"}
    assert 0 <= lines["locks"]["measured"]["freed_ms"] < 10_000
    assert lines["fsync"]["measured"]["median_ms"] >= 0
    assert abs(lines["clock"]["measured"]["skew_s"]) < 60


def test_a_failure_ends_with_1(queuectl: Commands, spool: SpoolDir) -> None:
    """A failing test gives exit code 1, and has a hint."""
    Path(spool.settings_path).write_text("max_retrys = 5\n", encoding="utf-8")
    result = queuectl("doctor", code=1)
    assert ["fail", "settings"] in [row[:2] for row in result.rows]
    assert "1 failure" in result.err
    assert queuectl("doctor", "--json", code=1).json["worst"] == "fail"


def test_on_a_terminal_hints_stand_below(queuectl: Commands, spool: SpoolDir) -> None:
    """A person sees the hint under the line that it belongs to."""
    os.unlink(spool.settings_path)
    queuectl.on_terminal = True
    lines = queuectl("doctor").out.splitlines()
    at = next(number for number, line in enumerate(lines) if " settings " in line)
    assert "hint:" in lines[at + 1]
    assert "queuectl init" in lines[at + 1]


def test_what_is_no_spool_is_told(queuectl: Commands, tmp_path: Path) -> None:
    """A folder that is no spool is not examined, and nothing is made in it."""
    (tmp_path / "other").mkdir()
    assert "is not a spool" in queuectl("--spool", str(tmp_path / "other"), "doctor", code=75).err
    assert os.listdir(tmp_path / "other") == []
    assert "no such folder" in queuectl("--spool", str(tmp_path / "none"), "doctor", code=75).err


def test_names_from_the_disk_cannot_act_on_a_terminal(queuectl: Commands, tmp_path: Path) -> None:
    """A path with escape sequences in it is written out."""
    if os.name == "nt":
        return  # no such names there
    hostile = tmp_path / "sp\x1b[2Jool"
    Spool.create(hostile)
    queuectl.on_terminal = True
    assert "\x1b[2J" not in queuectl("--spool", str(hostile), "doctor").out


def test_a_running_pool_is_not_disturbed(queuectl: Commands, spool: SpoolDir) -> None:
    """While workers run jobs, an examination passes, and every job succeeds in one attempt."""
    jobs = Spool(spool.root)
    ids = [jobs.enqueue("exit 0") for _ in range(30)]
    run("--spool", spool.root, "worker", "start", "--count", "2", "--detach")
    try:
        for _ in range(3):
            assert run("--spool", spool.root, "doctor").code == 0
        wait_until(lambda: len(names_in(spool, DONE)) == len(ids), timeout=60)
    finally:
        run("--spool", spool.root, "worker", "stop", "--now")
    assert {jobs.get(job_id).attempts for job_id in ids} == {1}


def test_workers_are_refused_where_two_would_run_one_job(
    queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a share on which new files cannot be made, or locks do not exclude, gets no pool, and a hint."""

    def broken(*_args: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(volume, "of", lambda _path: volume.Volume("nfs4", "/mnt", volume.NETWORK))
    monkeypatch.setattr(disk, "create", broken)
    result = queuectl("worker", "start", "--drain", code=None)
    assert result.code != 0
    assert "nfs4 at /mnt: a network file system" in result.err
    assert "workers cannot run in" in result.err
    assert "mount the file system writable" in result.err
