"""Poll an inbox of files: take each file that is whole, and move the files of jobs that have ended.

A poll lists names and looks at those that may be taken. It reads a content only of a file that it has claimed, in an
inbox with `unique` (`contents`).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.inbox import state
from queuectl.inbox.contents import Claimed, Contents, key_of
from queuectl.inbox.file_box import ClaimedError, FileBox, Seen
from queuectl.inbox.file_ends import FileEnds
from queuectl.inbox.file_handover import FileHandover, is_of_one_file
from queuectl.inbox.file_judge import FileJudge
from queuectl.inbox.kept import FAR
from queuectl.inbox.outside import Opener
from queuectl.inbox.place import Place
from queuectl.inbox.polling import Polling
from queuectl.inbox.state import ROWS, InboxFile, InboxRefusal, InboxState
from queuectl.inbox.subfolder_walk import FOLDERS_MOST, Found, Identity, SubfolderWalk
from queuectl.model import subfolders, times
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE, STATES
from queuectl.model.notice import INFO, WARNING
from queuectl.model.text import command_text
from queuectl.spool.session import Session
from queuectl.system import files, sharing

_WRITER = "a program has it open for writing"
_READ = "its content is being read (unique)"
_HELD = "its job has ended, but a program has it open: it is in working/ until that program closes it"


class _Arriving(NamedTuple):
    """A file that is not taken yet: its version, since when it has been so, and what it waits for ("": `settle_s`)."""

    sig: tuple[files.FileSig, int]
    since_s: float
    why: str = ""


class FilePoller(Polling[FileBox]):
    """Polls an inbox of files."""

    def __init__(self, session: Session, inbox: Inbox, path: str, *, beat: Callable[[], None] = lambda: None) -> None:
        super().__init__(session, inbox, path, beat=beat)
        self._judge = FileJudge(session, self._inbox)
        self._ends = FileEnds(session, inbox, notify=self.notices.append, beat=beat)
        self._handover = FileHandover(session, inbox.owner, self._ends.owed)
        self._contents = Contents(beat) if inbox.unique else None
        self._unread: dict[str, str] = {}
        """Files that were given back because their content could not be read whole, and why."""
        self._arriving: dict[str, _Arriving] = {}
        """Files that this poll did not find whole."""
        self._known: dict[str, _Arriving] = {}
        """The versions that the last poll saw, also of files that are whole and wait for their turn."""
        self._refused: dict[str, str] = {}
        self._held: tuple[InboxFile, ...] = ()
        """The first file that could not be moved at the end of its job, because a program has it open (Windows)."""
        self._foreign: list[str] = []
        self._taken_from: set[str] = set()
        """The subfolders from which this poll took files."""
        self._found = Found(set(), {}, [], {})
        self._moved: dict[str, tuple[Identity, int]] = {}
        """Folders that were moved into the inbox whole: which they are, and when it was."""
        self._own_folders: frozenset[str] = frozenset()
        self._walk: SubfolderWalk | None = None
        if inbox.recursive:
            tells_times = sys.platform != "win32" and not self.is_far()
            self._walk = SubfolderWalk(session, inbox, path, self._judge, tells_times=tells_times, beat=beat)
        self._opener = Opener(session, self._inbox, beat=beat)
        self._told: set[str] = set()
        """Why files cannot go to folders outside the inbox, as far as it was reported."""
        self._kept = self._ends.kept
        self._kept_seen = 0
        """How many files the last poll found that are kept and have not changed."""
        earlier = state.read(session.spool, inbox.owner)
        if earlier is not None and earlier.path == path:
            ends = {DONE: earlier.last_done, DLQ: earlier.last_failed}
            self._ends.last.update({kind: end for kind, end in ends.items() if end is not None})

    @property
    def is_drained(self) -> bool:
        """Whether the last poll left no file that may be taken soon: not one whose marker may never come."""
        return not self._state.waiting and all(item.why not in ("", _WRITER) for item in self._arriving.values())

    @property
    def due_s(self) -> float:
        """In how many seconds the first of the watched files may be whole."""
        since_s = min((item.since_s for item in self._arriving.values() if not item.why), default=float("inf"))
        return since_s + self._settle_s - self._clock.monotonic()

    @property
    def has_work(self) -> bool:
        """Whether a large file is being read."""
        return self._contents is not None and self._contents.has_work

    def work(self) -> bool:
        """Read a part of a large file; return whether it is read, so that the next poll makes its job."""
        return self._contents is not None and self._contents.work()

    def is_news(self, name: str) -> bool:
        """Return whether an event for this path is worth a poll."""
        parts = name.split("/")
        return parts[0] not in self._own_folders and not any(part.startswith(".") for part in parts)

    @property
    def folders(self) -> Mapping[str, Identity]:
        """The subfolders of the inbox, with device and inode."""
        return self._found.folders

    def _box(self, fd: int, identity: str) -> FileBox:
        path = os.path.abspath(self._path)  # as it was judged: the command gets it
        place = Place(path, fd)
        self._kept.use(FAR if self._is_far or self._folder is None else self._folder[1])
        has_jobs = self._ends.owed.ids
        return FileBox(place, identity, self._inbox, self._opener, is_far=self._is_far, is_new=lambda: not has_jobs())

    def _poll(self, box: FileBox) -> list[str]:
        published, back = self._handover.recover(box)
        for name in back:
            self._say(INFO, f"{name} is back in the inbox: its hand-over was interrupted")
        there = self._list(box)
        self._kept.forget_all_but(there, unseen=self._unseen())
        self.renamed.intersection_update(there | self._note_moved_folders())
        self._handover.given_back &= there
        own = self.renamed & self._handover.given_back
        self.renamed.difference_update(own)
        self._handover.given_back -= own
        if out := self._judge.out:
            self._look_into(out)
        if self._contents is not None:
            self._contents.begin_poll()
            self._place_read(box, published)
        left, held_back = self._take(box, there, published)
        if self._contents is not None:
            reading = [claimed.name for claimed in self._contents.under_way]
            left += reading
            stay = {*there, *reading, *self._handover.given_back}
            self._unread = {name: why for name, why in self._unread.items() if name in stay}
        self._settle(box)
        self._ends.tidy(box, self._taken_from)
        self._state = self._as_seen(left, held_back, len(published))
        return published

    def _look_into(self, out: str) -> None:
        """Look into the folder of results: if it is missing, everything waits, and no job fails because of it."""
        try:
            files.names(out)
        except FileNotFoundError:
            what = f"there is no folder {out} (out); create it, or correct out in {self._spool.settings_path}"
            raise OSError(what) from None

    def _list(self, box: FileBox) -> set[str]:
        """Return what is in the inbox: names, and with subfolders the paths of everything but folders."""
        self._own_folders = box.own_folders
        if self._walk is None:
            return set(box.root.names()) - box.own_folders
        self._found = self._walk.walk(box.root, own=box.own_folders)
        return self._found.files

    def _note_moved_folders(self) -> set[str]:
        """Note the folders that were moved in whole; return the names of renames that came after the listing.

        What has not changed since the move is as whole as a file that was renamed. A change of the folder's own mode or
        times would look like a later move, so its event is waited for: it was sent before the folder was looked at.
        """
        if self._walk is None:
            return set()
        folders = self._found.folders
        self._moved = {path: each for path, each in self._moved.items() if folders.get(path) == each[0]}
        marked = [each for each in self.renamed if each.endswith("/")]
        if not marked:
            return set()
        before = set(self.renamed)
        self.catch_up()
        for path in (each[:-1] for each in marked if each in self.renamed):
            if path in folders and (moved_ns := self._walk.moved_at(path)):
                self._moved[path] = folders[path], moved_ns
        return self.renamed - before

    def _came_whole(self, name: str, seen: Seen) -> bool:
        """Return whether a file has not changed since a folder that it is in was moved into the inbox."""
        above = subfolders.split(name)[0] if self._moved else ""
        while above:
            if above in self._moved and seen.ctime_ns < self._moved[above][1]:
                return True
            above = subfolders.split(above)[0]
        return False

    def _unseen(self) -> list[str]:
        """Return the subfolders that the last walk could not list; "" for all of them."""
        if len(self._found.folders) >= FOLDERS_MOST:
            return [""]
        return [*self._found.left, *(each.rstrip("/") for each in self._found.refused)]

    def _settle(self, box: FileBox) -> None:
        """Move the files of jobs that have ended. A file that a program has open (Windows) stays, and is reported once.

        It changes nothing for other files: those that were taken are reported, and the next poll comes as soon.
        """
        held: tuple[InboxFile, ...] = ()
        try:
            self._ends.settle(box)
        except OSError as error:
            if not sharing.is_held(error):
                raise
            held = (InboxFile(os.path.basename(str(error.filename or "")), 0, 0.0, _HELD),)
        finally:
            self._handover.given_back |= self._ends.returned
            self._ends.returned.clear()
        why = {each.why for each in self._ends.unmoved}
        for text in sorted(why - self._told):
            names = [each.name for each in self._ends.unmoved if each.why == text]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._say(WARNING, f"{names[0]}{more} cannot leave working/: {text}; queuectl tries again automatically")
        if self._told and not why:
            self._say(INFO, "the files that could not leave working/ have moved")
        self._told = why
        if held and held != self._held:
            self._say(WARNING, f"{held[0].name}: {held[0].why}")
        self._held = held

    def _finish(self, box: FileBox) -> None:
        """Give back the files that are being read, move those of the last jobs, and show which of them cannot move."""
        for claimed in () if self._contents is None else self._contents.close():
            self._handover.give_back(box, claimed.job_id)
        try:
            self._ends.settle(box)
        finally:
            unmoved = self._ends.unmoved
            self._state = msgspec.structs.replace(self._state, unmoved=len(unmoved), unmoved_rows=tuple(unmoved[:ROWS]))

    # ------------------------------------------------------------------------------------------------- taking in

    def _take(self, box: FileBox, there: set[str], published: list[str]) -> tuple[list[str], str]:
        """Take the files that are whole; return those that are left for later, and the limit that keeps them.

        Append to `published` the names in pending/ of the jobs.
        """
        # Those at the top come first, and the files of one folder together.
        order = None if self._walk is None else subfolders.split
        known = self._known
        candidates = sorted(
            (each for each in there if each in known or not self._judge.why_left_alone(each)), key=order
        )
        if self._inbox.done_file:
            markers = {self._judge.marker_of(name) for name in candidates} & there
            candidates = [name for name in candidates if name not in markers]
            there = there - markers
        self._foreign = sorted([*there.difference(candidates), *self._found.left])
        self._arriving, self._known, self._refused = {}, {}, dict(self._found.refused)
        self._taken_from.clear()
        self._kept_seen = 0
        if candidates:
            self._limits.begin(self._ends.owed.waiting())
        left: list[str] = []
        limit = ""
        for name in candidates:
            self._beat()
            sub = subfolders.split(name)[0]
            if (sub and f"{sub}/" in self._refused) or self._may_wait(name, left, known, has_limit=bool(limit)):
                continue
            seen: Seen | None = None
            try:
                seen = self._see(box, name)
                if seen is None or not self._is_whole(box, name, seen, known.get(name)):
                    continue
                if full := self._limits.reached():
                    limit = full
                has_room = self._contents is None or self._contents.has_room(seen.sig.size)
                if full or self._limits.is_poll_full or not has_room:
                    left.append(name)
                    # It need not settle again.
                    now = _Arriving((seen.sig, seen.ctime_ns), self._clock.monotonic())
                    self._known[name] = known.get(name, now)
                    continue
                if self._take_one(box, name, seen, published):
                    if self._kept.had(name):
                        self._say(INFO, f"{name} has changed since its last job: it is taken as a new version")
                    self._limits.count(taken=True)
                    self.renamed.discard(name)
                    self._taken_from.add(sub)
            except ClaimedError as error:
                self._say(INFO, f"{name} is not taken yet: {error}")
            except OSError as error:
                if sharing.is_trouble(error) or not is_of_one_file(error):
                    raise
                if sub and error.errno == errno.EXDEV:
                    self._refused[f"{sub}/"] = "it is on another file system, so its files cannot be moved in one step"
                elif seen is not None:
                    self._watch(name, seen, f"it cannot be taken: {error.strerror or error}", known.get(name))
        self._known.update(self._arriving)
        return left, limit

    def _may_wait(self, name: str, left: list[str], known: dict[str, _Arriving], *, has_limit: bool) -> bool:
        """Return whether a file need not be looked at now, because no more are taken; put it to those that are left.

        It is looked at again before it is taken.
        """
        if not (has_limit or self._limits.is_poll_full):
            return False
        if name in known and not known[name].why:
            self._known[name] = known[name]
        elif name not in self.renamed or self._inbox.done_file:
            return False
        left.append(name)
        return True

    def _see(self, box: FileBox, name: str) -> Seen | None:
        """Return the present version of a file; None if there is none, or something else has the name."""
        info = box.look(name)
        if info is None:
            return None
        if not stat.S_ISREG(info.st_mode):
            self._foreign.append(name)
            return None
        sig = files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
        if self._kept.holds(name, sig):
            self._kept_seen += 1
            self.renamed.discard(name)
            return None
        if info.st_nlink > 1:
            self._refused[name] = "it has a second name (a hard link); copy the file instead of linking it"
            return None
        return Seen(sig, info.st_ctime_ns)

    def _is_whole(self, box: FileBox, name: str, seen: Seen, known: _Arriving | None) -> bool:
        """Return whether a file may be taken now; if not, note why not."""
        try:
            self._judge.command_for(box.path_of("", name), sub=subfolders.split(name)[0])
        except InvalidJobError as error:
            self._refused[name] = f"{error}; {error.hint}"
            return False
        if self._inbox.done_file:
            marker = self._judge.marker_of(name)
            found = box.look(marker)
            if found is None or not stat.S_ISREG(found.st_mode):
                self._watch(name, seen, f"{marker} is not there yet", known)
                return False
        elif name not in self.renamed and not self._came_whole(name, seen):
            now_s = self._clock.monotonic()
            if known is None or known.sig != (seen.sig, seen.ctime_ns):
                known = _Arriving((seen.sig, seen.ctime_ns), now_s)
            if now_s - known.since_s < self._settle_s:
                self._arriving[name] = known._replace(why="")
                return False
        try:
            has_writer = box.has_writer(name)
        except (FileNotFoundError, files.NotRegularError):
            return False  # it is gone, or something else has its name now
        if has_writer:
            self._watch(name, seen, _WRITER, known)
            return False
        return True

    def _watch(self, name: str, seen: Seen, why: str, known: _Arriving | None) -> None:
        """Remember what a file waits for. Report once what a person may have to put right."""
        sig = (seen.sig, seen.ctime_ns)
        since_s = known.since_s if known is not None and known.sig == sig else self._clock.monotonic()
        self._arriving[name] = _Arriving(sig, since_s, why)
        if why.startswith("it cannot") and (known is None or known.why != why):
            self._say(WARNING, f"{name} is skipped for now: {why}")

    def _take_one(self, box: FileBox, name: str, seen: Seen, published: list[str]) -> bool:
        """Hand one file over, or claim and read it; return False if the file is gone. Raises as `hand_over`.

        Append to `published` the job's name in pending/.
        """
        job_id = self._judge.new_id(name)
        while self._spool.find_plain(job_id, STATES) is not None:
            job_id = self._judge.new_id(name)
        marker = self._judge.marker_of(name)
        if self._contents is not None:
            return self._read_one(self._contents, box, Claimed(job_id, name, seen), marker, published)
        prepared = self._judge.prepare(name, job_id, box.path_of(job_id, name))
        if made := self._handover.hand_over(box, name, seen, prepared, marker):
            published.append(made)
        return bool(made)

    def _read_one(self, contents: Contents, box: FileBox, wanted: Claimed, marker: str, published: list[str]) -> bool:
        """Claim a file and begin to read it. If it is small, make its job. Return and raise as `_take_one`."""
        found = self._handover.claim(box, wanted.name, wanted.job_id, wanted.found, marker)
        if found is None:
            return False
        self._handover.under_way.add(wanted.job_id)
        try:
            contents.begin(box, wanted._replace(found=found))
        except (ClaimedError, OSError):
            self._handover.give_back(box, wanted.job_id)
            raise
        self._place_read(box, published)
        return True

    def _place_read(self, box: FileBox, published: list[str]) -> None:
        """Make the jobs of the files that were read. Append to `published` their names in pending/. Raises OSError."""
        while self._contents is not None and (read := self._contents.next_ended()) is not None:
            claimed = read.claimed
            why = read.why
            if not why and box.sig_in(claimed.job_id, claimed.name) != claimed.found.sig:
                why = "it was changed while it was read"
            try:
                prepared = self._judge.prepare(
                    claimed.name,
                    claimed.job_id,
                    box.path_of(claimed.job_id, claimed.name),
                    unique=key_of(self._inbox.owner, read.digest),
                )
            except InvalidJobError as error:
                why = str(error)
            if why:
                self._handover.give_back(box, claimed.job_id)
                if self._unread.get(claimed.name) != why:
                    self._say(WARNING, f"{claimed.name} is not taken yet: {why}")
                self._unread[claimed.name] = why
                continue
            published.append(self._handover.place(box, claimed.name, claimed.found, prepared))

    # ---------------------------------------------------------------------------------------------------- the state

    def _as_seen(self, left: list[str], held_back: str, published: int) -> InboxState:
        now_s = self._clock.monotonic()
        settling = f"it must not change for {times.format_duration(self._settle_s)} (settle_s)"
        rows = tuple(
            InboxFile(name, item.sig[0].size, round(now_s - item.since_s, 1), item.why or settling)
            for name, item in list(self._arriving.items())[:ROWS]
        )
        refused = sorted(self._refused.items())
        if self._contents is not None:
            reading = [(each.name, each.found.sig.size) for each in self._contents.under_way]
            rows = (*(InboxFile(name, size, 0.0, _READ) for name, size in reading), *rows)
        return msgspec.structs.replace(
            self._seen(left, held_back, self._foreign, published),
            arriving=len(self._arriving),
            rows=self._held + rows,
            rejected=len(refused),
            refused=tuple(InboxRefusal(name, why, "") for name, why in refused[:ROWS]),
            kept=self._kept_seen,
            unmoved=len(self._ends.unmoved),
            unmoved_rows=tuple(self._ends.unmoved[:ROWS]),
            subfolders=len(self._found.folders),
            command=command_text(self._inbox.command),
            working=self._ends.owed.count,
            last_done=self._ends.last.get(DONE),
            last_failed=self._ends.last.get(DLQ),
        )
