"""The folders of an inbox of files, and every move of a file between them (FORMAT.md, "Inboxes of files").

    NAME                      a file that is to be taken
    working/SPOOL-ID/NAME     the file of the job ID of the spool with that identity
    done/NAME                 the file of a job that succeeded
    failed/NAME               the file of a job that ended otherwise; NAME.failed.txt says why

NAME may be a path: then SUB/NAME is in the subfolder SUB of each of them. A file is in exactly one of them: each move
is one rename, never replacing. Another user may write to the inbox, so all of this is done through handles (`place`),
and a claimed file is looked at again where no other user can exchange it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import descent, outside
from queuectl.inbox.descent import Descent, Mirror
from queuectl.inbox.free_names import FAILED_TEXT, TEMPORARY, forget_text, free_name, move
from queuectl.inbox.place import Place, UnsafeFolderError
from queuectl.model import file_command, subfolders
from queuectl.model.file_command import KEEP, WORKING, is_outside
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DONE
from queuectl.spool import trust
from queuectl.system import files

_CLOSED_TO_OTHERS = 0o700
# So many folders in done/ and failed/ stay open.
_OPEN_MOST = 64
# A text is in its place for less than this before its file is.
_ON_ITS_WAY_S = 60.0


class Seen(NamedTuple):
    """One version of a file, and whether a program has it open for writing (None: unknown)."""

    sig: files.FileSig
    ctime_ns: int
    has_writer: bool | None = None


class ClaimedError(Exception):
    """A file was not the one that was judged, when it was looked at again after its claim: why."""


class FileBox:
    """The folders of one inbox of files, open for one look. The owner must close it.

    Args:
        root: the open folder of the inbox, which this object closes.
        identity: the identity of the spool.
        inbox: the settings of the inbox.
        opener: opens the folders outside the inbox that the settings name.
        is_far: whether programs of other machines may write to the files.
        is_new: whether working/ may be made, because no job has a file in it.

    Raises:
        UnsafeFolderError: another user could change working/, it is a link, or it is missing.
        OSError: working/ cannot be made or opened.
    """

    def __init__(
        self,
        root: Place,
        identity: str,
        inbox: Inbox,
        opener: outside.Opener,
        *,
        is_far: bool = False,
        is_new: Callable[[], bool] = lambda: True,
    ) -> None:
        self.root = root
        self._opener = opener
        self._is_far = is_far
        self._inbox = inbox
        self._identity = identity
        info = root.info()
        self._mode = stat.S_IMODE(info.st_mode)
        self._owners = () if sys.platform == "win32" else (os.geteuid(), 0, info.st_uid)
        self._me = -1 if sys.platform == "win32" else os.geteuid()
        self._working = self._own(WORKING, _CLOSED_TO_OTHERS, is_new=is_new)
        self._others: dict[str, Mirror] = {}
        self._tops: list[Place] = []
        self._from = Descent(root)
        self._back = Mirror(root, owners=(), mode=self._mode)
        if sys.platform != "win32" and (who := trust.others(self._working.info(), self._owners)):
            self._working.close()  # the caller closes the inbox
            path = self._working.path
            raise UnsafeFolderError(1, f"{who} can write to it; chmod 700 {trust.quoted(path)}", path)

    def close(self) -> None:
        """Close all handles."""
        self._from.close()
        for mirror in (*self._others.values(), self._back):
            mirror.close()
        for place in (*self._tops, self._working, self.root):
            place.close()

    def __enter__(self) -> FileBox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def own_folders(self) -> frozenset[str]:
        """The names of the folders that queuectl makes in the inbox."""
        return frozenset({WORKING, DONE, *file_command.own_folders(self._inbox.on_success, self._inbox.on_failure)})

    def path_of(self, job_id: str, path: str) -> str:
        """Return the path that a claimed file has for the command."""
        return os.path.join(self._working.path, f"{self._identity}-{job_id}", subfolders.native(path))

    def look(self, path: str) -> os.stat_result | None:
        """Return the facts of an entry of the inbox; None if it, or its subfolder, is gone. Raises OSError."""
        sub, name = subfolders.split(path)
        try:
            return self._from.to(sub).look(name)
        except (FileNotFoundError, UnsafeFolderError):
            return None

    def has_writer(self, path: str, place: Place | None = None) -> bool | None:
        """Return whether a program has a file open for writing; None if the system does not tell.

        The file is in the inbox, or with `place` in that folder.

        Raises:
            files.NotRegularError: it is something else.
            FileNotFoundError, UnsafeFolderError, OSError: it cannot be looked at or read.
        """
        sub, name = subfolders.split(path)
        place = place or self._from.to(sub)
        found = files.has_writer(place.entry(name), at=place.at)
        return None if self._is_far and found is False else found

    # ------------------------------------------------------------------------------------------------ handing over

    def claim(self, path: str, job_id: str, seen: Seen, marker: str) -> Seen:
        """Move a file, after its marker (unless that is ""), into the folder of its job; return its version there.

        Raises:
            ClaimedError: it is not the version that was seen, or a program writes to it; `give_back` returns it.
            FileNotFoundError, UnsafeFolderError: the file, its marker or its subfolder is gone; `give_back` returns the
                other one.
            OSError: the system call failed; as above.
        """
        folder = f"{self._identity}-{job_id}"
        sub, name = subfolders.split(path)
        self._working.make(folder)
        with self._claimed(job_id, sub, make=True) as place:
            source = self._from.to(sub)
            if marker:
                marker = subfolders.split(marker)[1]
                source.move(marker, place, marker)
            source.move(name, place, name)
            info = place.look(name)
            if info is None or not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise ClaimedError("it is not a regular file with one name any more")
            found = files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
            if found != seen.sig:
                raise ClaimedError("it was changed just now")
            has_writer = self.has_writer(name, place)
            if has_writer:
                raise ClaimedError("a program has it open for writing")
            return Seen(found, info.st_ctime_ns, has_writer)

    def open_claimed(self, job_id: str, path: str) -> int:
        """Return a handle to read a claimed file, which the caller closes. Raises as `files.read`."""
        sub, name = subfolders.split(path)
        with self._claimed(job_id, sub) as place:
            return place.open_to_read(name)

    def sync_claim(self, job_id: str, path: str) -> None:
        """Fsync what a claim has moved, as far as the file system can."""
        sub, _ = subfolders.split(path)
        way = subfolders.parts(sub)
        for length in range(len(way), -1, -1):
            with self._claimed(job_id, "/".join(way[:length])) as place:
                place.sync()
        self._working.sync()
        with contextlib.suppress(OSError):  # of a claim that was cut short, the subfolder may be gone
            self._from.to(sub).sync()

    def claimed_ids(self) -> list[str]:
        """Return the ids of the jobs that have a folder in working/. Raises OSError."""
        mark = f"{self._identity}-"
        return [name.removeprefix(mark) for name in self._working.names() if name.startswith(mark)]

    def give_back(self, job_id: str) -> list[str]:
        """Move everything that was claimed for a job back to the inbox; return the paths. Delete its folder.

        A marker goes first, under a name that fits the file's, so that it never marks another file.
        """
        with self._claimed(job_id) as place:
            moved = self._give_back_from(place, "")
        self._working.remove_folder(f"{self._identity}-{job_id}")
        return moved

    def _give_back_from(self, place: Place, sub: str) -> list[str]:
        moved: list[str] = []
        there = sorted(place.names())
        if there == [name for name in there if descent.is_folder_of(place, name, self._me)]:
            for name in there:  # on the way to the file
                with place.folder(name) as below:
                    moved += self._give_back_from(below, subfolders.join(sub, name))
                place.remove_folder(name)
            return moved
        path, home = self._back.to(sub)
        try:
            return self._give_back_to(home, place, there, path)
        except PermissionError:
            if not sub:
                raise
            return self._give_back_to(self.root, place, sorted(place.names()), "")  # its owner has closed it meanwhile

    def _give_back_to(self, home: Place, place: Place, there: list[str], path: str) -> list[str]:
        """Move the entries `there` of a folder in working/ to the folder `home`, which has this path in the inbox."""
        moved: list[str] = []
        for name in [each for each in there if not self._is_marker(each, there)]:
            marker = self._marker_of(name)
            room = max(0, len(os.fsencode(marker)) - len(os.fsencode(name)))  # for the marker of another name
            target = free_name(home, name, room=room)
            while True:
                if marker in there and place.look(marker) is not None:
                    move(place, marker, home, self._marker_of(target))
                try:
                    place.move(name, home, target)
                    break
                except FileExistsError:
                    target = free_name(home, name, room=room)
            moved.append(subfolders.join(path, target))
        for name in place.names():  # a marker without its file
            move(place, name, home, name)
        return moved

    # ------------------------------------------------------------------------------------------------------ the end

    def holds(self, job_id: str) -> list[str]:
        """Return the paths of what is in the folder of a job, [] if there is no such folder. Raises OSError.

        A folder that is alone there is the way to the file.
        """
        sub = ""
        while True:
            try:
                with self._claimed(job_id, sub) as place:
                    there = sorted(place.names())
                    is_way = len(there) == 1 and descent.is_folder_of(place, there[0], self._me)
            except FileNotFoundError:
                return []
            if not is_way:
                return [subfolders.join(sub, name) for name in there]
            sub = subfolders.join(sub, there[0])

    def sig_in(self, job_id: str, path: str) -> files.FileSig | None:
        """Return the signature of a file in the folder of a job, None if there is none."""
        sub, name = subfolders.split(path)
        try:
            with self._claimed(job_id, sub) as place:
                info = place.look(name)
        except FileNotFoundError:
            return None
        return None if info is None else files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)

    def finish(self, job_id: str, target: str, path: str, *, text: str = "") -> list[str]:
        """Move the file `path` of a job and all that is beside it to the folder `target`; return their names there.

        With a `text`, write it first, beside the place where the file will be. May be called again after a crash.

        Raises:
            outside.OutsideError: the folder is outside the inbox, and cannot be used now.
            OSError: what has not moved is still in working/.
        """
        try:
            return self._end(job_id, target, path, text)
        except (OSError, UntrustedSpoolError, InvalidSettingsError) as error:
            if not is_outside(target):
                raise
            raise outside.OutsideError(outside.words(error, target)) from error

    def _end(self, job_id: str, target: str, path: str, text: str) -> list[str]:
        sub, name = subfolders.split(path)
        try:
            place = self._claimed(job_id)
        except FileNotFoundError:
            return []
        with place:
            moved = self._finish(place, "", subfolders.parts(sub), (job_id, target), name, text)
        self._working.remove_folder(f"{self._identity}-{job_id}")
        return moved

    def _finish(self, place: Place, sub: str, way: list[str], end: tuple[str, str], name: str, text: str) -> list[str]:
        """Empty a folder of a job: first the one in it that is on the `way` to the file. `end`: the job, the target."""
        moved: list[str] = []
        if way:
            # The command may have put something else in its place, which moves as everything beside it does.
            with contextlib.suppress(FileNotFoundError, UnsafeFolderError):
                with place.folder(way[0], owners=self._owners) as below:
                    moved = self._finish(below, subfolders.join(sub, way[0]), way[1:], end, name, text)
                place.remove_folder(way[0])
            name = text = ""
        if listed := place.names():
            job_id, target = end
            to = self._to(target, sub)
            carrier = None
            if is_outside(target):
                carrier = outside.Carrier(place, to, f".queuectl-{self._identity}-tmp-{job_id}", self._opener)
                carrier.recover()
            for left in {TEMPORARY, outside.MOVED}.intersection(listed):  # of a process that was killed
                place.remove(left)
            for each in sorted(place.names(), key=lambda entry: (entry != name, entry)):
                moved.append(move(place, each, to, each, text=text if each == name else "", by=carrier))
        return moved

    def keep(self, job_id: str, path: str, note: Callable[[str, files.FileSig], None]) -> str:
        """Move the file `path` of a job back to the inbox; return its path there, "" if there is no such file.

        First call `note` with that path and the version of the file. May be called again after a crash.

        Raises:
            OSError: the file is still in working/.
        """
        sub, name = subfolders.split(path)
        try:
            place = self._claimed(job_id, sub)
        except (FileNotFoundError, UnsafeFolderError):
            return ""
        with place:
            while True:
                info = place.look(name) if name else None
                if info is None or not stat.S_ISREG(info.st_mode):
                    return ""
                there, home = self._back.to(sub)
                target = free_name(home, name)
                note(subfolders.join(there, target), files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns))
                try:
                    place.move(name, home, target)
                except FileExistsError:
                    continue
                return subfolders.join(there, target)

    @property
    def has_many_open(self) -> bool:
        """Whether many folders in done/ and failed/ are open, so that `sync_ends` and `close_ends` are due."""
        return sum(each.count for each in self._others.values()) > _OPEN_MOST

    def sync_ends(self) -> None:
        """Fsync what `finish`, `keep` and `delete` have moved, as far as the file system can."""
        for mirror in self._others.values():
            mirror.sync()
        self._working.sync()
        if self._inbox.on_success == KEEP:
            self._back.sync()

    def close_ends(self) -> None:
        """Close the subfolders of files whose jobs have ended."""
        for mirror in self._others.values():
            mirror.close()

    def delete(self, job_id: str, path: str) -> None:
        """Delete the file of a job, and its marker. Raises OSError."""
        sub, name = subfolders.split(path)
        try:
            place = self._claimed(job_id, sub)
        except FileNotFoundError:
            return
        with place:
            info = place.look(name)
            if info is not None and not stat.S_ISDIR(info.st_mode):
                place.remove(name)
            if self._inbox.done_file:
                place.remove(self._marker_of(name))

    def forget_orphan_texts(self, now_at: float, sub: str = "") -> bool:
        """Delete the texts in a folder of failed files whose files are gone, if queuectl wrote them.

        Return False if a text is left for later: the file of a new text may be on its way to a folder that several
        inboxes share.
        """
        is_shared, are_all = is_outside(self._inbox.on_failure), True
        with contextlib.suppress(OSError, UntrustedSpoolError, InvalidSettingsError):
            place = self._to(self._inbox.on_failure, sub)
            there = set(place.names())
            for name in there:
                if name.endswith(FAILED_TEXT) and name.removesuffix(FAILED_TEXT) not in there:
                    info = place.look(name) if is_shared else None
                    if info is not None and abs(now_at - info.st_mtime) < _ON_ITS_WAY_S:
                        are_all = False
                    else:
                        forget_text(place, name)
        return are_all

    def failed_mark(self, sub: str = "") -> files.FileSig | None:
        """Return a value that changes with the names in a folder of failed files; None if there is no such folder."""
        if is_outside(folder := self._inbox.on_failure):
            info = files.look(os.path.join(folder, subfolders.native(sub)) if sub else folder)
            return None if info is None else files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
        above, name = subfolders.split(subfolders.join(self._inbox.on_failure, sub) if sub else self._inbox.on_failure)
        try:
            with contextlib.ExitStack() as opened:
                place = opened.enter_context(descent.inner(self.root, above)) if above else self.root
                info = place.look(name)
        except (FileNotFoundError, UnsafeFolderError):
            return None
        return None if info is None else files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)

    # ------------------------------------------------------------------------------------------------------ helpers

    def _own(self, name: str, mode: int, *, is_new: Callable[[], bool] = lambda: True) -> Place:
        """Open one of our folders, which is made if it is missing and may be. Raises UnsafeFolderError, OSError."""
        try:
            return self.root.folder(name, owners=self._owners)
        except FileNotFoundError:
            if not is_new():
                why = "it is missing, but jobs have files there; mount the share, or create it if these files are lost"
                raise UnsafeFolderError(errno.ENOENT, why, os.path.join(self.root.path, name)) from None
            with contextlib.suppress(FileExistsError):
                self.root.make(name, mode)
            return self.root.folder(name, owners=self._owners)

    def _claimed(self, job_id: str, sub: str = "", *, make: bool = False) -> Place:
        """Open the folder of a job, or a subfolder of it. Raises FileNotFoundError, UnsafeFolderError, OSError."""
        place = self._working.folder(f"{self._identity}-{job_id}", owners=self._owners)
        if not sub:
            return place
        with place:
            return descent.inner(place, sub, owners=self._owners, make=make)

    def _to(self, target: str, sub: str = "") -> Place:
        """Open the folder for files whose jobs have ended, with the mode of the inbox, or its subfolder."""
        if target not in self._others:
            top = self._opener.open(target) if is_outside(target) else self._own(target, self._mode)
            self._tops.append(top)
            mode = stat.S_IMODE(top.info().st_mode) if is_outside(target) else self._mode
            self._others[target] = Mirror(top, owners=self._owners, mode=mode)
        return self._others[target].to(sub)[1]

    def _marker_of(self, name: str) -> str:
        return file_command.done_file_of(self._inbox.done_file, name) if self._inbox.done_file else ""

    def _is_marker(self, name: str, there: list[str]) -> bool:
        return bool(self._inbox.done_file) and any(name == self._marker_of(each) for each in there if each != name)
