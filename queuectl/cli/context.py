"""Finds the spool that a command uses, and keeps the options of every command.

--spool  >  QUEUECTL_SPOOL  >  the nearest spool in this or a parent folder, or in a spool/ there  >  the user's own
spool, which is made on first use. A spool that was not named must belong to the user who runs the command. Otherwise
root in another user's folder would write where that user chooses.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from queuectl.cli.terminal import printing

if TYPE_CHECKING:
    from queuectl.api import Spool
    from queuectl.model.settings import Settings
    from queuectl.spool.folder import SpoolDir

VARIABLE = "QUEUECTL_SPOOL"
COMPLETION_VARIABLE = "_QUEUECTL_COMPLETE"
OWN_NAME = "spool"


class Options:
    """Keeps the options that every command takes, typed before or after the command."""

    def __init__(self) -> None:
        self.spool = ""
        self.debug = False


options = Options()


def reset() -> None:
    """Forget the options of an earlier command in this process."""
    options.spool = ""
    options.debug = False


def spool_path() -> str:
    """Return the absolute path of the spool to use; make the user's own spool if it is missing."""
    found = found_path()
    if found:
        return found

    from queuectl.spool import create
    from queuectl.spool.folder import SpoolDir

    own = above = own_path()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Root may have another user's home (sudo on some systems): never make a folder where that user chooses.
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        _check_owner(own, at=above)
    create.create(SpoolDir(own))
    printing.message(
        "There is no spool in this folder or its parents. Using your default spool, which is new and empty: "
        f"{printing.safe(own)}"
    )
    printing.message("For a queue in this folder: queuectl init")
    return own


def found_path() -> str:
    """Return the absolute path of the spool to use, or "" if that is the user's own spool and it does not exist yet.

    Raises:
        UntrustedSpoolError: the folder was not named and belongs to another user.
    """
    given = options.spool or os.environ.get(VARIABLE, "")
    if given:
        return os.path.abspath(given)
    found = nearest(working_folder())
    if not found:
        from queuectl.spool.folder import is_spool

        own = own_path()
        found = own if is_spool(own) else ""
    if found:
        _check_owner(found)
    return found


def _check_owner(path: str, *, at: str = "") -> None:
    """Refuse a spool that belongs to another user, or a new spool in another user's folder (`at`)."""
    if sys.platform == "win32":
        return
    from queuectl.errors import UntrustedSpoolError
    from queuectl.spool import trust

    owner = trust.stranger(at or path)
    if owner is not None:
        me, other, where = trust.user_name(os.geteuid()), trust.user_name(owner), printing.safe(path)
        raise UntrustedSpoolError(
            path,
            what=f"refusing to use {where}, because you did not name it",
            cause=f"{printing.safe(at) if at else 'it'} belongs to user {other}, and this command runs as user {me}",
            hint=f"to use it anyway: --spool {trust.quoted(where)}; or run the command as user {other}",
        )


def nearest(start: str) -> str:
    """Return the nearest spool in `start` or a parent folder, also in a spool/ there, or ""."""
    from queuectl.spool.folder import is_spool

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
    """Return the path of the user's own spool on this system."""
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("queuectl", appauthor=False), OWN_NAME)


def working_folder() -> str:
    """Return the current folder, or "" if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def open_dir() -> SpoolDir:
    """Open the spool's folder without its settings. Raises NotASpoolError, SpoolUnavailableError."""
    from queuectl.spool.folder import SpoolDir

    return SpoolDir.open(spool_path())


def open_with_settings() -> tuple[SpoolDir, Settings]:
    """Open the spool's folder and read its settings, without the library. Raises as `open_spool`."""
    from queuectl.spool import settings_file

    folder = open_dir()
    return folder, settings_file.load(folder)


def open_spool() -> Spool:
    """Open the spool. Raises NotASpoolError, InvalidSettingsError, SpoolUnavailableError."""
    from queuectl.api import Spool

    return Spool(spool_path())


def open_anyway() -> Spool:
    """Open the spool for commands that look or rescue: invalid settings are replaced by the defaults, with a warning.

    Raises:
        NotASpoolError, SpoolUnavailableError: as `open_spool`, but not for the settings.
    """
    from queuectl.api import Spool
    from queuectl.errors import InvalidSettingsError, SpoolUnavailableError
    from queuectl.model import settings

    class Lenient(Spool):
        @staticmethod
        def _load_settings(folder: SpoolDir) -> settings.Settings:
            try:
                return Spool._load_settings(folder)
            except (InvalidSettingsError, SpoolUnavailableError) as error:
                printing.warning(f"{error}; this command uses the default settings")
                return settings.defaults()

    return Lenient(spool_path())
