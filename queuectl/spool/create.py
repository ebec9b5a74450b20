"""Create a spool: its folders, its commented settings, its README texts, and example jobs.

The package folder new_spool/ holds the files of a new spool, laid out as in a spool.
"""

from __future__ import annotations

import contextlib
import os
from importlib import resources

from queuectl.model import job, settings
from queuectl.model.lifecycle import REJECTED, STATES
from queuectl.spool.folder import SpoolDir, cannot_make
from queuectl.spool.layout import EXAMPLES, SCHEDULES
from queuectl.system import disk, files


def create(spool: SpoolDir) -> bool:
    """Create the missing parts of a spool, and change nothing that exists. Return True if the spool is new.

    Only a new spool gets the examples, because its owner may delete them.

    Raises:
        SpoolUnavailableError: a folder or file cannot be created.
    """
    try:
        new = files.sig_of(spool.settings_path) is None
        spool.make_folders()
        if new and files.sig_of(spool.examples_dir) is None:
            disk.make_folder(spool.examples_dir)
            for name in _names(EXAMPLES):
                _make(spool, os.path.join(spool.examples_dir, name), text_of(EXAMPLES, name))
        if files.sig_of(spool.schedules_dir) is None:
            disk.make_folder(spool.schedules_dir)
        for name in _names(SCHEDULES):
            if files.sig_of(path := spool.schedule_path(name)) is None:
                _make(spool, path, text_of(SCHEDULES, name))
        for folder in (*STATES, REJECTED):
            for name in _names(folder):
                if files.sig_of(path := spool.path(folder, name)) is None:
                    _make(spool, path, text_of(folder, name))
        for path, text in (
            (spool.schema_path, job.schema_text),
            (spool.settings_path, settings.default_text),
            (spool.readme_path, readme_text),
        ):
            if files.sig_of(path) is None:
                _make(spool, path, text())
    except OSError as error:
        raise cannot_make(spool.root, error) from error
    return new


def _make(spool: SpoolDir, path: str, text: str) -> None:
    with contextlib.suppress(FileExistsError):
        spool.publish_file(path, text.encode(), hint="setup", sync=False, mode=disk.FILE_MODE)


def _names(folder: str) -> list[str]:
    return sorted(item.name for item in (resources.files("queuectl") / "new_spool" / folder).iterdir())


def text_of(folder: str, name: str) -> str:
    """Return a file of a new spool: the README.txt of a state's folder, or one of the examples."""
    return (resources.files("queuectl") / "new_spool" / folder / name).read_text(encoding="utf-8")


def examples() -> dict[str, str]:
    """Return the files in examples/ of a new spool, by name."""
    return {name: text_of(EXAMPLES, name) for name in _names(EXAMPLES)}


def readme_text() -> str:
    """Return the README.md of a spool."""
    return (resources.files("queuectl") / "spool_readme.md").read_text(encoding="utf-8")


def format_text() -> str:
    """Return FORMAT.md: the promises and the on-disk format."""
    return (resources.files("queuectl") / "FORMAT.md").read_text(encoding="utf-8")
