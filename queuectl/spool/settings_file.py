"""Read and replace queuectl.toml; no other module does. The table in `model.settings` defines its keys."""

from __future__ import annotations

from typing import Any

from queuectl.errors import InvalidSettingsError, SpoolUnavailableError, os_words
from queuectl.model import settings
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, rights

MAX_BYTES = 1024 * 1024


def load(spool: SpoolDir) -> Settings:
    """Return the settings of a spool, and use their mode for files of jobs from now on. No file means the defaults.

    Raises:
        InvalidSettingsError: names the file, the key and what is allowed.
        SpoolUnavailableError: the file exists but cannot be read.
    """
    path = spool.settings_path
    try:
        found = settings.parse(read(path), path=path)
    except OSError as error:
        raise SpoolUnavailableError(f"cannot read {path}", path=path, cause=os_words(error)) from error
    spool.use(found)
    return found


def read(path: str) -> str:
    """Return the text of a settings file, "" if there is none. A byte order mark is skipped.

    Raises:
        InvalidSettingsError: the file is too large, or not UTF-8.
        OSError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    if len(data) > MAX_BYTES:
        raise InvalidSettingsError(f"{path} is larger than {MAX_BYTES} bytes", path=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSettingsError(
            f"{path} is not UTF-8, from byte {error.start + 1} on", path=path, hint="save it as UTF-8"
        ) from error


def write(spool: SpoolDir, text: str) -> None:
    """Replace queuectl.toml with `text` in one step. Keep its mode, because its owner may have restricted access.

    Raises:
        OSError: the file is unchanged.
    """
    mode = rights.mode_of(spool.settings_path, otherwise=disk.FILE_MODE)
    spool.replace_file(spool.settings_path, text.encode(), hint="settings", sync=True, mode=mode)


def edit(text: str, name: str, value: Any) -> str:
    """Return `text` with the setting `name` set to `value`; comments, order and everything else stay."""
    import tomlkit  # 57 ms: only if a file is changed

    document = tomlkit.parse(text)
    commented = f"# {name} = "
    section, _, key = name.rpartition(".")
    if (table := _table(document, section)) is not None and section:
        table[key] = value
        return tomlkit.dumps(document)
    if name not in document and any(line.startswith(commented) for line in text.splitlines()):
        # The default file has each setting commented out under its explanation: put the value there.
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(commented))
        lines.insert(at + 1, f"{name} = {tomlkit.item(value).as_string()}")
        return "\n".join(lines) + "\n"
    if section:
        *outer, last = section.split(".")
        above: Any = document
        for part in outer:
            above = above.setdefault(part, tomlkit.table(is_super_table=True))
        made = tomlkit.table()
        made[key] = value
        above[last] = made
    else:
        document[name] = value
    return tomlkit.dumps(document)


def remove(text: str, name: str) -> str:
    """Return `text` without the setting `name`, so that its default applies again."""
    import tomlkit

    document = tomlkit.parse(text)
    section, _, key = name.rpartition(".")
    if (table := _table(document, section)) is not None:
        table.pop(key, None)
    return tomlkit.dumps(document)


def _table(document: Any, section: str) -> Any:
    """Return a table by its dotted name ("": the document itself), or None if there is none."""
    for part in section.split(".") if section else ():
        document = document.get(part)
        if not hasattr(document, "items"):
            return None
    return document
