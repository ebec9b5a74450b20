"""Check that inboxes, keys and commands do not let other users do more than the settings allow (P10)."""

from __future__ import annotations

import functools
import os
import stat
import sys
from typing import TYPE_CHECKING

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import opening
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir

if TYPE_CHECKING:
    from queuectl.model.command import Command
    from queuectl.model.inbox import Inbox
    from queuectl.model.settings import Settings


def check_all(spool: SpoolDir, settings: Settings) -> None:
    """Refuse to start workers if an inbox, a key or a command lets other users do more than the settings allow.

    Raises:
        UntrustedSpoolError: the path at fault, the reason, and the command that fixes it.
        InvalidSettingsError: the key at fault and what to do.
    """
    for check_part in PARTS.values():
        check_part(spool, settings)


def check_inboxes(spool: SpoolDir, settings: Settings) -> None:
    """Refuse inboxes, and folders for their files, as `opening.check_inboxes` and `outside.check` do."""
    opening.check_inboxes(spool, settings)
    if of_files := [inbox for inbox in settings.inboxes if inbox.mode == "files"]:
        from queuectl.inbox import outside  # few inboxes are of files

        opening.judge([functools.partial(outside.check, spool, settings, inbox) for inbox in of_files])


def check_keys(spool: SpoolDir, settings: Settings) -> None:
    """Refuse keys that other users can read or replace. Raises the same errors as `check_all`."""
    signed = [inbox for inbox in settings.inboxes if inbox.keys]
    if not signed:
        return
    from queuectl.inbox import keyfile  # and with it the machinery of random numbers

    for inbox in signed:
        folder = keys_path(spool, inbox)
        try:
            listed = sorted(name for name in os.listdir(folder) if name.endswith(keyfile.ENDING))
        except OSError as error:
            what = f"{spool.settings_path}: inbox.keys: {folder}: {error.strerror}"
            hint = "mkdir -m 700 FOLDER, then queuectl sign --new-key FOLDER/NAME.key"
            raise InvalidSettingsError(what, path=spool.settings_path, key="inbox.keys", hint=hint) from error
        trust.check_folders(folder, why="could put keys of their own there")
        for name in listed:
            path = os.path.join(folder, name)
            check_key(path)
            try:
                keyfile.read(path)
            except (ValueError, OSError) as error:
                what = f"{spool.settings_path}: inbox.keys: {path}: {getattr(error, 'strerror', None) or error}"
                hint = f"delete this file, then queuectl sign --new-key {trust.quoted(path)}"
                raise InvalidSettingsError(what, path=spool.settings_path, key="inbox.keys", hint=hint) from error


def check_key(path: str) -> None:
    """Refuse a key that other users can read or replace (POSIX; on Windows its access list decides).

    Raises:
        UntrustedSpoolError: the path at fault and the command that fixes it.
        FileNotFoundError, OSError: the system call failed.
    """
    info = os.lstat(path)
    if sys.platform == "win32":
        return
    if stat.S_ISREG(info.st_mode) and (info.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(info.st_mode) & 0o077):
        who = "its owner is another user" if info.st_uid not in (os.geteuid(), 0) else "others can read or write it"
        hint = f"chmod 600 {trust.quoted(path)}"
        if info.st_uid not in (os.geteuid(), 0):
            hint = f"chown {trust.user_name(os.geteuid())} {trust.quoted(path)} && {hint}"
        raise UntrustedSpoolError(
            path, cause=f"{who}, and so could sign jobs", hint=hint, what=f"refusing the key {path}"
        )
    trust.check_folders(os.path.dirname(os.path.abspath(path)), why="could put keys of their own there")


def check_commands(spool: SpoolDir, settings: Settings) -> None:
    """Refuse commands whose program is missing, a batch file, or replaceable by others. Raises as `check_all`."""
    for inbox in settings.inboxes:
        if inbox.template:
            _check_params(spool, inbox, settings.commands[inbox.template])
    of_files = [inbox for inbox in settings.inboxes if inbox.command]
    if not settings.commands and not of_files:
        return
    from queuectl.model.command import Command, is_batch

    commands = [(f"commands.{name}.argv", command) for name, command in settings.commands.items()]
    commands += [(f"inbox.command of {inbox.owner}", Command(argv=inbox.command)) for inbox in of_files]
    for key, command in commands:
        program = find_program(command)
        if not program:
            what = f"{spool.settings_path}: {key}: there is no program {command.argv[0]!r}"
            hint = f"install it, or write its full path; the pool's PATH is not used, but {_path_of(command)}"
            raise InvalidSettingsError(what, path=spool.settings_path, key=key, hint=hint)
        if is_batch(program):
            what = f"{spool.settings_path}: {key}: {program} is a batch file, whose arguments cmd.exe reads as commands"
            hint = "name the program that it starts"
            raise InvalidSettingsError(what, path=spool.settings_path, key=key, hint=hint)
        trust.check_folders(program, why=f"could make it run anything as user {trust.me()}")


def _check_params(spool: SpoolDir, inbox: Inbox, command: Command) -> None:
    """Refuse an inbox of files whose files are outside the folder that a param of its command accepts."""
    from queuectl.inbox import confinement
    from queuectl.model import file_command, file_template

    folder = os.path.abspath(os.path.join(opening.inbox_path(spool, inbox), file_command.WORKING, "ID"))
    out = os.path.abspath(os.path.join(spool.root, inbox.out)) if inbox.out else ""
    values = file_command.values_of(os.path.join(folder, "NAME"), out=out, subfolder="")
    for name, source in file_template.sources(inbox, command).items():
        param = command.params[name]
        if param.type == "path" and isinstance(source, str) and source.startswith(("{file}", "{folder}", "{out}")):
            path = file_command.filled(source, values)
            if not confinement.is_in(param.under, path):
                key = f"inbox.params.{name} of {inbox.owner}"
                what = f"{spool.settings_path}: {key}: {path} is not in {param.under}"
                hint = f"set commands.{inbox.template}.params.{name}.under to a folder that holds it"
                raise InvalidSettingsError(what, path=spool.settings_path, key=key, hint=hint)


def find_program(command: Command) -> str:
    """Return the file that a command starts, found with the command's own PATH; "" if there is none."""
    import shutil

    return shutil.which(command.argv[0], path=_path_of(command)) or ""


def _path_of(command: Command) -> str:
    from queuectl.system import environment

    return command.env.get("PATH", environment.minimal_here()["PATH"])


def keys_path(spool: SpoolDir, inbox: Inbox) -> str:
    """Return the folder with the keys of an inbox."""
    return os.path.join(spool.root, inbox.keys)


# The checks besides that of the spool itself, by the name of their line in `doctor`.
PARTS = {"inboxes": check_inboxes, "keys": check_keys, "commands": check_commands}
