"""Check before a start that a pool may run here: from the command line and from Python (promises P1, P10).

A check raises, or it warns and the start goes on.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from queuectl.errors import SpoolUnavailableError
from queuectl.inbox import trust as inbox_trust
from queuectl.model.settings import Settings
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS
from queuectl.system import volume
from queuectl.system.clock import Clock

Warn = Callable[[str], None]


def check(spool: SpoolDir, settings: Settings, warn: Warn) -> None:
    """Refuse a spool on which a pool must not run; complete its folders.

    Nothing is written before the checks of trust: a spool that others can change could lead root's writes anywhere.
    `warn` is called with each sentence about a file system that is not the machine's own.

    Raises:
        UntrustedSpoolError, InvalidSettingsError: others could have the pool run what they like.
        SpoolUnavailableError: jobs cannot move by rename here, or locks do not exclude; a folder cannot be made.
    """
    trust.check(spool)
    inbox_trust.check_all(spool, settings)
    spool.complete()
    _check_one_file_system(spool.root)
    _check_nature(spool, warn)


def warn_of_power(spool: SpoolDir, warn: Warn) -> None:
    """Warn if jobs get the rights of root, or if somebody could put another spool in the place of this one."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        warn("running as root, so every job runs as root")
    who, _ = trust.way_to(spool)
    if who:
        warn(who)


def _check_one_file_system(root: str) -> None:
    """Refuse a spool that spans file systems: every move is a rename, which exists only within one.

    A folder that is missing now, although it was there when the spool was opened, is made again by the pool.
    """
    home = os.stat(root).st_dev
    for folder in FOLDERS:
        path = os.path.join(root, folder)
        if os.path.lexists(path) and os.stat(path).st_dev != home:
            raise SpoolUnavailableError(
                f"{path} is on another file system than {root}",
                path=path,
                cause="jobs move by rename, which works only within one file system",
                hint="put the whole spool on one file system",
            )


def _check_nature(spool: SpoolDir, warn: Warn) -> None:
    """Warn of a network or user-space file system, and refuse one on which workers would run a job twice."""
    if volume.of(spool.root).nature in (volume.LOCAL, volume.REMOVABLE, volume.MEMORY):
        return  # `doctor` need not be loaded
    from queuectl.maintenance import doctor
    from queuectl.maintenance.probes import FAIL, WARN

    for found in doctor.before_start(spool, clock=Clock(), rng=random.Random()):
        if found.level == FAIL:
            raise SpoolUnavailableError(
                f"workers cannot work in {spool.root}", path=spool.root, cause=found.text, hint=found.hint
            )
        if found.level == WARN:
            warn(f"{found.text}: {found.hint}")
