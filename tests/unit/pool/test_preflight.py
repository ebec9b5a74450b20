"""preflight: on what a pool does not start, also one that is started from Python (P1, P10)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from queuectl import __version__
from queuectl.cluster import carriers
from queuectl.errors import SpoolUnavailableError, UntrustedSpoolError
from queuectl.maintenance import doctor
from queuectl.maintenance.probes import FAIL, WARN, Line
from queuectl.model.settings import Settings
from queuectl.pool import preflight
from queuectl.pool.options import Options
from queuectl.pool.run import run_pool
from queuectl.spool import pools, trust
from queuectl.spool.folder import SpoolDir
from queuectl.system import boot, volume
from tests.helpers import Desk


def start(spool: SpoolDir, settings: Settings) -> list[str]:
    """Start a pool from Python that ends at once; return what it warns of."""
    said: list[str] = []
    run_pool(spool, settings, Options(slots=1, cwd=spool.root, drain=True), lambda _: None, warn=said.append)
    return said


def test_a_spool_on_two_file_systems_is_refused(
    spool: SpoolDir, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: a job could not move from one folder to the other by rename."""
    real = os.stat
    done = spool.folder("done")

    class Elsewhere:
        st_dev = -1

    def stat(path: object, *args: object, **keys: object) -> object:
        return Elsewhere() if path == done else real(path, *args, **keys)  # type: ignore[call-overload]

    monkeypatch.setattr(trust, "check", lambda _spool: None)
    monkeypatch.setattr(preflight.os, "stat", stat)
    with pytest.raises(SpoolUnavailableError, match="is on a different file system") as refused:
        start(spool, settings)
    assert refused.value.path == done


@pytest.mark.skipif(sys.platform == "win32", reason="the access list decides there")
@pytest.mark.parametrize("theirs", [".", "pending"])
def test_nothing_is_written_to_a_spool_that_others_can_change(spool: SpoolDir, settings: Settings, theirs: str) -> None:
    """P10: its missing folders are made only after the check; a link of a stranger's could lead elsewhere."""
    os.remove(os.path.join(spool.folder("done"), "README.txt"))
    os.rmdir(spool.folder("done"))
    os.chmod(os.path.join(spool.root, theirs), 0o777)
    with pytest.raises(UntrustedSpoolError):
        start(SpoolDir.open(spool.root), settings)
    assert not os.path.lexists(spool.folder("done"))


def test_missing_folders_are_made(spool: SpoolDir, settings: Settings) -> None:
    """A clone of git has no empty folders."""
    os.remove(os.path.join(spool.folder("done"), "README.txt"))
    os.rmdir(spool.folder("done"))
    start(SpoolDir.open(spool.root), settings)
    assert os.path.isdir(spool.folder("done"))


def test_a_folder_that_is_gone_since_the_spool_was_opened_is_made_again(spool: SpoolDir, settings: Settings) -> None:
    """A program may have the spool open for long before it starts a pool."""
    opened = SpoolDir.open(spool.root)
    os.remove(os.path.join(spool.folder("done"), "README.txt"))
    os.rmdir(spool.folder("done"))
    start(opened, settings)
    assert os.path.isdir(spool.folder("done"))


@pytest.mark.parametrize("level", [FAIL, WARN])
def test_a_file_system_of_a_network_is_tried_out(
    spool: SpoolDir, settings: Settings, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """P1: a pool does not start where locks exclude nobody, and warns where it only cannot be sure."""
    share = volume.of(spool.root)._replace(nature=volume.NETWORK)
    monkeypatch.setattr(preflight.volume, "of", lambda _path: share)
    monkeypatch.setattr(doctor, "before_start", lambda *_args, **_keys: [Line("lock", level, "no locks", "move it")])
    said: list[str] = []
    if level == FAIL:
        with pytest.raises(SpoolUnavailableError, match="workers cannot run in") as refused:
            preflight.check(spool, settings, said.append)
        assert refused.value.cause == "no locks" and said == []
    else:
        preflight.check(spool, settings, said.append)
        assert said == ["no locks: move it"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no root")
def test_root_and_a_way_to_the_spool_are_warned_of(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: both are warnings, because in a container they are usual."""
    said: list[str] = []
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(trust, "way_to", lambda _spool: ("bob could do it", "chmod"))
    preflight.warn_of_power(spool, said.append)
    assert said == ["running as root, so every job runs as root", "bob could do it"]


@pytest.mark.parametrize(
    ("host", "boot_of", "is_refused"), [("other", "b", True), ("other", "a", False), ("here", "b", False)]
)
def test_a_share_with_a_pool_of_another_machine_is_refused(
    spool: SpoolDir,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    boot_of: str,
    is_refused: bool,
) -> None:
    """P3: host and boot of a pool's record say so; a container of this machine, and this one before, are no others."""
    monkeypatch.setattr(volume, "of", lambda _path: volume.Volume("nfs4", "", volume.NETWORK))
    monkeypatch.setattr(doctor, "before_start", lambda *_args, **_keys: [])
    monkeypatch.setattr(pools, "own_host", lambda: "here")
    monkeypatch.setattr(boot, "boot_id", lambda: "a")
    record = {"pool": f"{host}-1-x2k9", "host": host, "pid": 1, "started_at": "2026-11-24T03:15:00.000Z", "count": 1}
    path = spool.pool_path(f"{host}-1-x2k9", "json")
    Path(path).write_text(json.dumps({**record, "boot": boot_of}))
    if not is_refused:
        preflight.check(spool, settings, lambda _: None)
        return
    with pytest.raises(SpoolUnavailableError, match="workers on other use") as refused:
        preflight.check(spool, settings, lambda _: None)
    assert "--cluster" in refused.value.hint
    assert path in refused.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="a Linux machine leads a cluster")
def test_a_cluster_is_not_led_beside_an_older_pool(
    spool: SpoolDir, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a pool that knows no stamps would start a job again whose command runs on a node."""
    monkeypatch.setattr(carriers, "check", lambda _settings: None)
    settings = desk.settings
    older = pools.Pool(desk.session, count=1, cwd=spool.root)
    older.enter()
    preflight.check_cluster(spool, settings)
    path = Path(spool.pool_path(older.name, "json"))
    body = json.loads(path.read_text())
    del body["format"]
    path.write_text(json.dumps(body))
    with pytest.raises(SpoolUnavailableError, match="older queuectl"):
        preflight.check_cluster(spool, settings)
    older.leave(pools.StopSummary([], 0), clean=True)
    preflight.check_cluster(spool, settings)


def test_pools_of_different_versions_are_warned_of(spool: SpoolDir, desk: Desk) -> None:
    """An older pool refuses jobs with keys that it does not know, so whose turn it is decides what becomes of them."""
    said: list[str] = []
    other = pools.Pool(desk.session, count=1, cwd=spool.root)
    other.enter()
    preflight.warn_of_versions(spool, said.append)
    assert said == []
    path = Path(spool.pool_path(other.name, "json"))
    body = json.loads(path.read_text())
    del body["version"]
    path.write_text(json.dumps(body))
    preflight.warn_of_versions(spool, said.append)
    (text,) = said
    assert f"(an older version, {__version__})" in text or f"({__version__}, an older version)" in text
    other.leave(pools.StopSummary([], 0), clean=True)
