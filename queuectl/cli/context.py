"""Which spool a command means, and the options that hold for every command.

--spool  >  QUEUECTL_SPOOL  >  the nearest folder upward that is a spool or has a spool/  >  the user's own, which is
made on first use. A spool that nobody named is used only if it belongs to the user who runs the command: else root in
somebody's folder would write where that user says.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from queuectl.cli.terminal import printing

if TYPE_CHECKING:
    from queuectl.api import Spool
    from queuectl.spool.folder import SpoolDir

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
    """Return the folder that is meant, absolute; the user's own spool is made if it is missing."""
    found = found_path()
    if found:
        return found

    from queuectl.spool import create
    from queuectl.spool.folder import SpoolDir

    own = above = own_path()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Root with the home of somebody else (sudo on some systems): no folder is made where that user says.
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        _check_owner(own, at=above)
    create.create(SpoolDir(own))
    printing.message(f"made your own spool, because none is near this folder: {printing.safe(own)}")
    return own


def found_path() -> str:
    """Return the folder that is meant, absolute, or "" if the user's own spool is meant and does not exist yet.

    Raises:
        UntrustedSpoolError: nobody named that folder, and it belongs to another user.
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
    """Refuse a spool that belongs to another user, or that is to be made in a folder of theirs (`at`)."""
    if sys.platform == "win32":
        return
    from queuectl.errors import UntrustedSpoolError
    from queuectl.spool import trust

    owner = trust.stranger(at or path)
    if owner is not None:
        me, other, where = trust.user_name(os.geteuid()), trust.user_name(owner), printing.safe(path)
        raise UntrustedSpoolError(
            path,
            what=f"refusing to use {where}, because nobody named it",
            cause=f"{printing.safe(at) if at else 'it'} belongs to user {other}, and this command runs as user {me}",
            hint=f"name it if you mean it: --spool {trust.quoted(where)}; or run the command as user {other}",
        )


def nearest(start: str) -> str:
    """Return the nearest folder from `start` upward that is a spool or holds one named spool/, or ""."""
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
    """Return where the user's own spool lies on this system."""
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("queuectl", appauthor=False), OWN_NAME)


def working_folder() -> str:
    """Return the folder the command was typed in, or "" if it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def open_dir() -> SpoolDir:
    """Return the spool's folder without its settings. Raises NotASpoolError, SpoolUnavailableError."""
    from queuectl.spool.folder import SpoolDir

    return SpoolDir.open(spool_path())


def open_spool() -> Spool:
    """Return the spool. Raises NotASpoolError, InvalidSettingsError, SpoolUnavailableError."""
    from queuectl.api import Spool

    return Spool(spool_path())


def open_anyway() -> Spool:
    """The spool for commands that look or rescue: if its settings cannot be used, the defaults count, with a warning.

    Raises:
        NotASpoolError, SpoolUnavailableError: as `open_spool`, but for the settings.
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
                printing.warning(f"{error}; this command goes on with the default settings")
                return settings.defaults()

    return Lenient(spool_path())
