"""Which spool a command means, and the options that hold for every command.

--spool  >  QUEUECTL_SPOOL  >  the nearest folder upward that is a spool or has a spool/  >  the user's own, which is
made on first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queuectl.cli import output

if TYPE_CHECKING:
    from queuectl.api import Spool
    from queuectl.spool import SpoolDir

VARIABLE = "QUEUECTL_SPOOL"
OWN_NAME = "spool"


class Options:
    """What was typed before or after the command and holds for all of them."""

    def __init__(self) -> None:
        self.spool = ""
        self.debug = False


options = Options()


def reset() -> None:
    """Forget the options of an earlier command in this process."""
    options.spool = ""
    options.debug = False


def spool_path() -> str:
    """The folder that is meant, absolute; the user's own spool is made if it is missing."""
    given = options.spool or os.environ.get(VARIABLE, "")
    if given:
        return os.path.abspath(given)
    found = nearest(working_folder())
    if found:
        return found
    from queuectl.spool import SpoolDir, is_spool

    own = own_path()
    if not is_spool(own):
        import random

        from queuectl import setup

        setup.create(SpoolDir(own), rng=random.Random())
        output.message(f"made your own spool, because none is near this folder: {output.safe(own)}")
    return own


def nearest(start: str) -> str:
    """The nearest folder from `start` upward that is a spool or holds one named spool/, or ""."""
    from queuectl.spool import is_spool

    folder = start
    while folder:
        for candidate in (folder, os.path.join(folder, OWN_NAME)):
            if is_spool(candidate):
                return candidate
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return ""


def own_path() -> str:
    """Where the user's own spool lies on this system."""
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("queuectl", appauthor=False), OWN_NAME)


def working_folder() -> str:
    """The folder the command was typed in, or "" where it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def open_dir() -> SpoolDir:
    """The spool's folder without its settings. Raises NotASpoolError, SpoolUnavailableError."""
    from queuectl.spool import SpoolDir

    return SpoolDir.open(spool_path())


def open_spool() -> Spool:
    """The spool. Raises NotASpoolError, InvalidSettingsError, SpoolUnavailableError."""
    from queuectl.api import Spool

    return Spool(spool_path())
