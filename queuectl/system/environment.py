"""The environment of a command that gets few of the worker's variables (the record's `minimal_env`).

A pool's own variables may hold values that no producer should reach: tokens, agents' sockets, LD_PRELOAD, PYTHONPATH.
Such a command gets only the named variables that every program needs, plus the job's `env`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_POSIX = frozenset(["HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"])
# Without these, programs on Windows do not find their libraries, their user or the folder for temporary files.
_WINDOWS = frozenset(
    """SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT OS NUMBER_OF_PROCESSORS PROCESSOR_ARCHITECTURE COMPUTERNAME
    USERPROFILE USERNAME USERDOMAIN HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA ALLUSERSPROFILE PROGRAMDATA PUBLIC
    PROGRAMFILES PROGRAMFILES(X86) PROGRAMW6432 COMMONPROGRAMFILES COMMONPROGRAMFILES(X86) COMMONPROGRAMW6432
    LANG TZ TEMP TMP""".split()  # noqa: SIM905 (a list is 30 lines)
)


def minimal_here() -> dict[str, str]:
    """Return the variables of this process that a command with `minimal_env` gets, and PATH."""
    path = os.defpath
    if sys.platform != "win32":
        path = os.confstr("CS_PATH") or path
    return minimal(os.environ, windows=sys.platform == "win32", default_path=path)


def minimal(environment: Mapping[str, str], *, windows: bool, default_path: str) -> dict[str, str]:
    """Return the variables of `environment` that a command with `minimal_env` gets, and PATH.

    Args:
        environment: the worker's variables.
        windows: select the names of Windows, ignoring case.
        default_path: PATH on POSIX, from the system (`os.confstr("CS_PATH")`). On Windows PATH is the system's own
            folders.
    """
    if not windows:
        made = {key: text for key, text in environment.items() if key in _POSIX or key.startswith("LC_")}
        return {**made, "PATH": default_path}
    made = {key: text for key, text in environment.items() if key.upper() in _WINDOWS or key.upper().startswith("LC_")}
    root = next((text for key, text in environment.items() if key.upper() == "SYSTEMROOT"), r"C:\Windows")
    folders = [rf"{root}\System32", root, rf"{root}\System32\Wbem", rf"{root}\System32\WindowsPowerShell\v1.0"]
    return {**made, "PATH": ";".join(folders)}
