"""Check before a start that a pool may run here, both from the command line and from Python (promises P1, P10).

A check raises an error, or it warns and the start continues.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from queuectl import __version__
from queuectl.errors import SpoolUnavailableError
from queuectl.model.settings import Settings
from queuectl.spool import pools, trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS
from queuectl.system import volume
from queuectl.system.clock import Clock

Warn = Callable[[str], None]


def check(spool: SpoolDir, settings: Settings, warn: Warn) -> None:
    """Refuse a spool on which a pool must not run; complete its folders.

    Nothing is written before the trust checks, because a spool that others can change could lead root's writes
    anywhere. `warn` is called with each sentence about a file system that is not the machine's own.

    Raises:
        UntrustedSpoolError, InvalidSettingsError: other users could make the pool run anything.
        SpoolUnavailableError: renames or locks do not work here, or a folder cannot be created.
    """
    trust.check(spool)
    if settings.inboxes or settings.commands:
        from queuectl.inbox import trust as inbox_trust  # judges nothing else

        inbox_trust.check_all(spool, settings)
    spool.complete()
    _check_one_file_system(spool.root)
    _check_nature(spool, warn)


def check_cluster(spool: SpoolDir, settings: Settings) -> None:
    """Refuse to lead a cluster without what it needs, or beside a pool that would rescue its runs while they live.

    Raises:
        ClusterError: what only a person can put right.
        SpoolUnavailableError: a pool of an older queuectl runs here.
    """
    from queuectl.cluster import carriers

    carriers.check(settings)
    for pool in pools.live(spool):
        if pool.format < pools.POOL_FORMAT:
            raise SpoolUnavailableError(
                f"the pool {pool.pool} is of an older queuectl",
                path=spool.root,
                cause="it does not know that a run on another machine is alive, and would start its job again",
                hint=f"end it first: queuectl worker stop {pool.pool}",
            )


def warn_of_power(spool: SpoolDir, warn: Warn) -> None:
    """Warn if jobs get the rights of root, or if another user could replace this spool."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        warn("running as root, so every job runs as root")
    who, _ = trust.way_to(spool)
    if who:
        warn(who)


def warn_of_versions(spool: SpoolDir, warn: Warn) -> None:
    """Warn if a live pool is of another version: it refuses jobs with keys that it does not know."""
    others = [pool.version for pool in pools.live(spool) if pool.version != __version__]
    if not others:
        return
    from queuectl.monitor import live

    if found := live.other_versions([__version__, *others]):
        warn(f"the pools of this spool would have different versions of queuectl ({found}); upgrade the others")


def _check_one_file_system(root: str) -> None:
    """Refuse a spool that spans file systems, because every move is a rename, which works only within one.

    If a folder has disappeared since the spool was opened, the pool creates it again.
    """
    home = os.stat(root).st_dev
    for folder in FOLDERS:
        path = os.path.join(root, folder)
        if os.path.lexists(path) and os.stat(path).st_dev != home:
            raise SpoolUnavailableError(
                f"{path} is on a different file system than {root}",
                path=path,
                cause="jobs move by rename, which works only within one file system",
                hint="put the whole spool on one file system",
            )


def _check_nature(spool: SpoolDir, warn: Warn) -> None:
    """Warn about a network or user-space file system, and refuse one on which workers would run a job twice."""
    if volume.first_of(spool.root).nature in (volume.LOCAL, volume.REMOVABLE, volume.MEMORY):
        return  # without loading `doctor`
    _check_alone(spool)
    from queuectl.maintenance import doctor
    from queuectl.maintenance.probes import FAIL, WARN

    for found in doctor.before_start(spool, clock=Clock(), rng=random.Random()):
        if found.level == FAIL:
            raise SpoolUnavailableError(
                f"workers cannot run in {spool.root}", path=spool.root, cause=found.text, hint=found.hint
            )
        if found.level == WARN:
            warn(f"{found.text}: {found.hint}")


def _check_alone(spool: SpoolDir) -> None:
    """Refuse a spool on a share that a pool of another machine uses: two workers would run one job (P3)."""
    other = pools.elsewhere(spool)
    if other is not None:
        record = spool.pool_path(other.pool, "json")
        raise SpoolUnavailableError(
            f"workers on {other.host} use {spool.root}",
            path=record,
            cause=f"locks on a share may hold on one machine only; pool {other.pool} has not ended",
            hint="to run jobs on several machines, keep the spool on one, and use `queuectl worker start --cluster`; "
            f"if {other.host} is gone for ever: delete {record}",
        )
