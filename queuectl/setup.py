"""Making a spool: its folders, its commented settings and the README for whoever opens it."""

from __future__ import annotations

import contextlib
import random
from importlib import resources

from queuectl import config, fsops
from queuectl.errors import SpoolUnavailableError
from queuectl.spool import SpoolDir


def create(spool: SpoolDir, *, rng: random.Random) -> bool:
    """Make what is missing of a spool; True where there was none before. What is there is not touched.

    Raises:
        SpoolUnavailableError: a folder or file cannot be made.
    """
    new = fsops.sig_of(spool.settings_path) is None
    spool.make_folders()
    try:
        for path, text in ((spool.settings_path, config.default_text()), (spool.readme_path, readme_text())):
            if fsops.sig_of(path) is None:
                temporary = spool.write_temporary("setup", text.encode(), rng=rng, sync=False)
                with contextlib.suppress(FileExistsError):
                    fsops.publish(temporary, path)
    except OSError as error:
        raise SpoolUnavailableError(f"cannot make the spool {spool.root}", path=spool.root, cause=str(error)) from error
    return new


def readme_text() -> str:
    """The README.md of a spool."""
    return (resources.files("queuectl") / "spool_readme.md").read_text(encoding="utf-8")


def format_text() -> str:
    """FORMAT.md: the promises and the on-disk format."""
    return (resources.files("queuectl") / "FORMAT.md").read_text(encoding="utf-8")
