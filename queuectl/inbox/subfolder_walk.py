"""Find the files in the subfolders of an inbox of files (FORMAT.md, "Subfolders").

Each folder is opened in the one above it, by its handle and without following a link. Folders that have not changed are
not listed again where their times can be trusted: then each costs a look one call.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple

from queuectl.inbox import opening
from queuectl.inbox.file_judge import FileJudge
from queuectl.inbox.place import Place, UnsafeFolderError
from queuectl.model import subfolders
from queuectl.model.inbox import Inbox
from queuectl.spool import trust
from queuectl.spool.session import Session
from queuectl.system import sharing

# The most subfolders of an inbox that are looked into.
FOLDERS_MOST = 10_000
# A folder that has changed so recently may have changed again since within one tick of its clock.
_FRESH_S = 2.0
# Each folder is listed this often, whatever its times say.
_LIST_S = 60.0

Identity = tuple[int, int]


class Found(NamedTuple):
    """What a look finds in an inbox, as paths with slashes."""

    files: set[str]
    """Everything but folders."""
    folders: dict[str, Identity]
    """The subfolders that were looked into, with device and inode."""
    left: list[str]
    """Folders that are left alone."""
    refused: dict[str, str]
    """Folders from which files cannot be taken, and why."""


class _Listed(NamedTuple):
    """A folder as it was listed: the times and the inode, when, and whether these times can be trusted."""

    mark: tuple[Identity, int, int]
    at_s: float
    is_settled: bool
    files: list[str]
    """Their paths."""
    folders: list[str]
    """Their names, sorted."""


class SubfolderWalk:
    """Walks the subfolders of one inbox of files, at `path`. `beat` is called between two folders."""

    def __init__(
        self,
        session: Session,
        inbox: Inbox,
        path: str,
        judge: FileJudge,
        *,
        tells_times: bool = False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._depth = subfolders.depth_of(inbox.recursive)
        self._ignores = judge.ignore
        self._others = _others_in(session, path, judge.out)
        self.tells_times = tells_times
        """Whether the times of a folder tell that its names have changed."""
        self.clock = session.clock
        self.beat = beat
        self.known: dict[str, _Listed] = {}

    def walk(self, root: Place, *, own: frozenset[str]) -> Found:
        """Look into the inbox and its subfolders; `own` are the names of the folders that queuectl makes.

        Raises:
            OSError: the inbox cannot be listed, or the machine is in trouble.
        """
        return _Walk(self, root, own).found

    def moved_at(self, path: str) -> int:
        """Return the ctime of a folder (nanoseconds) if nothing was put into it since then, else 0.

        Of a folder that has just been moved here, that is the time of the move.
        """
        listed = self.known.get(path)
        if listed is None:
            return 0
        _, mtime_ns, ctime_ns = listed.mark
        return ctime_ns if mtime_ns < ctime_ns else 0

    def why_left_alone(self, path: str, reserved: frozenset[str]) -> str:
        """Return why a folder is left alone because of its path, as the end of a sentence, or ""."""
        name = path.rpartition("/")[2]
        if path.count("/") >= self._depth:
            return f"it is deeper than {self._depth} folders (recursive)"
        if name.casefold() in reserved:
            return "it has the name of a folder of queuectl"
        if path in self._others:
            return "it is another inbox, or the folder of the results"
        return "its name is ignored" if self._ignores.fullmatch(name) else subfolders.why_left_alone(name)


class _Walk:
    """One look. `SubfolderWalk.known` has what the one before listed."""

    def __init__(self, of: SubfolderWalk, root: Place, own: frozenset[str]) -> None:
        self._of = of
        self._reserved = subfolders.reserved(*own)
        self.found = Found(set(), {}, [], {})
        self._before, of.known = of.known, {}
        info = root.info()
        self._device = info.st_dev
        names, folders = _sorted(root.marked_names())
        above = frozenset({(info.st_dev, info.st_ino)})
        self._add(
            root, "", [each for each in names if each not in own], [each for each in folders if each not in own], above
        )

    def _add(self, place: Place, sub: str, paths: list[str], folders: list[str], above: frozenset[Identity]) -> None:
        """Add what is in an open folder, and in those in it; `above`: it, and the folders above it."""
        self.found.files.update(paths)
        for name in folders:
            self._of.beat()
            path = subfolders.join(sub, name)
            if self._of.why_left_alone(path, self._reserved):
                self.found.left.append(path)
                continue
            if len(self.found.folders) >= FOLDERS_MOST:
                self.found.refused[f"{path}/"] = f"there are more than {FOLDERS_MOST} subfolders before it"
                return
            try:
                self._enter(place, path, name, above)
            except UnsafeFolderError:
                self.found.left.append(path)
            except FileNotFoundError:
                continue  # it was moved away just now
            except OSError as error:
                if sharing.is_trouble(error) and not sharing.may_be_of_one_file(error):
                    raise
                self.found.refused[f"{path}/"] = f"it cannot be opened: {error.strerror or error}"

    def _enter(self, place: Place, path: str, name: str, above: frozenset[Identity]) -> None:
        """Look into a folder. Raises UnsafeFolderError (a link, or the like), OSError."""
        info = place.look(name)
        if info is None:
            return
        identity = (info.st_dev, info.st_ino)
        if not stat.S_ISDIR(info.st_mode) or (identity in above and sys.platform != "win32"):
            self.found.left.append(path)
            return
        if info.st_dev != self._device:
            why = "it is on another file system, and only a rename within one moves a file in one step"
            self.found.refused[f"{path}/"] = why
            return
        listed = self._before.get(path)
        mark = (identity, info.st_mtime_ns, info.st_ctime_ns)
        now_s = self._of.clock.monotonic()
        is_same = listed is not None and listed.mark == mark and listed.is_settled and now_s < listed.at_s + _LIST_S
        if listed is not None and is_same and not listed.folders:
            self._keep(path, listed, place, above)
            return
        with place.folder(name) as inner:
            if listed is None or not is_same:
                # As the handle is: what the name led to may have been exchanged just now.
                info = inner.info()
                mark = ((info.st_dev, info.st_ino), info.st_mtime_ns, info.st_ctime_ns)
                if mark[0] in above or info.st_dev != self._device:
                    return
                if why := _why_closed(inner, info):
                    self.found.refused[f"{path}/"] = why
                    return
                is_settled = self._of.tells_times and self._of.clock.now() - info.st_mtime >= _FRESH_S
                names, folders = _sorted(inner.marked_names())
                listed = _Listed(mark, now_s, is_settled, [f"{path}/{name}" for name in names], folders)
            self._keep(path, listed, inner, above)

    def _keep(self, path: str, listed: _Listed, place: Place, above: frozenset[Identity]) -> None:
        identity = listed.mark[0]
        self._of.known[path] = listed
        self.found.folders[path] = identity
        self._add(place, path, listed.files, listed.folders, above | {identity} if listed.folders else above)


def _others_in(session: Session, path: str, out: str) -> frozenset[str]:
    """Return the paths in the inbox `path` of other inboxes, and of the folder of the results; by their texts only."""
    top = os.path.normcase(os.path.abspath(path)) + os.sep
    found = [opening.inbox_path(session.spool, inbox) for inbox in session.settings.inboxes]
    paths = [os.path.abspath(each) for each in (*found, *([out] if out else ()))]
    return frozenset(
        each[len(top) :].replace(os.sep, "/") for each in paths if os.path.normcase(each + os.sep).startswith(top)
    )


def _sorted(marked: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of a listing: those of files, and those of folders in their order."""
    folders = sorted(name[:-1] for name in marked if name.endswith("/"))
    return [name for name in marked if not name.endswith("/")], folders


def _why_closed(place: Place, info: os.stat_result) -> str:
    """Return why the workers' user may move no file out of a folder, or "" (POSIX)."""
    if sys.platform == "win32" or os.geteuid() == 0:
        return ""
    if not place.may_change():
        return f"user {trust.me()} may not move files out of it: chmod g+w, with a group of both users"
    if info.st_mode & stat.S_ISVTX and info.st_uid != os.geteuid():
        return (
            f"it is sticky and belongs to user {trust.user_name(info.st_uid)}, so nobody else may move files out of it"
        )
    return ""
