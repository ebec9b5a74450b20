"""The paths of files in an inbox with subfolders: `2026/May/Scan 7.pdf`. Computes only.

Such a path has slashes on every system, begins at the inbox and never leaves it. A file at the top has its name alone.
"""

from __future__ import annotations

import sys

from queuectl.model import names
from queuectl.model.file_command import WORKING

# The depth of `recursive = true`, and the greatest depth.
DEPTH, DEPTH_MOST = 8, 32
_TAG_MOST_CHARS = 64
# Folders that systems and file servers make for deleted and old files, previews and the like.
_OF_SYSTEMS = frozenset(
    [
        *("lost+found", "$recycle.bin", "recycler", "system volume information"),
        *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "@sharebin"),
    ]
)


def depth_of(recursive: bool | int) -> int:
    """Return how many levels of subfolders the value of the key `recursive` means."""
    return DEPTH * recursive if isinstance(recursive, bool) else recursive


def split(path: str) -> tuple[str, str]:
    """Return the subfolder of a path, "" at the top, and the name of the file."""
    sub, _, name = path.rpartition("/")
    return sub, name


def join(sub: str, name: str) -> str:
    """Return the path of a name in a subfolder."""
    return f"{sub}/{name}" if sub else name


def parts(sub: str) -> list[str]:
    """Return the names of the folders on the way to a subfolder, with its own; none for the top."""
    return sub.split("/") if sub else []


def native(path: str) -> str:
    """Return a path as this system writes it."""
    return path.replace("/", "\\") if sys.platform == "win32" else path


def is_inside(path: str) -> bool:
    """Return whether a path from a note or a record stays in the folder at which it begins."""
    return bool(path) and "\0" not in path and not {"", ".", ".."}.intersection(path.split("/"))


def reserved(*folders: str) -> frozenset[str]:
    """Return the names, in lower case, that no subfolder may have: `working` and these folders of queuectl."""
    return frozenset(each.casefold() for each in (WORKING, *folders))


def why_left_alone(name: str) -> str:
    """Return why files are never taken from a folder of this name, as the end of a sentence, or ""."""
    if name.startswith("."):
        return "its name begins with a dot"
    if name.casefold() in _OF_SYSTEMS:
        return "it is a folder of the system, or of a file server"
    return "its name is that of something temporary" if names.is_temporary(name) else ""


def tags_of(sub: str) -> list[str]:
    """Return the names of the folders on the way to a subfolder that can be tags: up to 64 characters, no comma."""
    return [name for name in parts(sub) if len(name) <= _TAG_MOST_CHARS and "," not in name and name.strip()]
