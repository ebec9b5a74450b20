"""What is done about what lies in one inbox: taken in where it is whole, refused where it is not, told how it ended.

A look lists names, and reads only files that may be taken now. Trouble with the inbox means later; it is told once.
One process looks at an inbox (`receiver`); its shares may hang.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import json
import os
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from queuectl.errors import InvalidJobError, InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import admission, folder, replay
from queuectl.inbox import state as inboxstate
from queuectl.inbox.folder import InboxDir, Listing
from queuectl.inbox.handover import BY, Handover
from queuectl.inbox.receipts import Owed
from queuectl.inbox.signing import Keys
from queuectl.inbox.state import InboxFile, InboxRefusal, InboxState
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import document as intake
from queuectl.model import names, record, times
from queuectl.model.inbox import SIGNED, TRUSTED, Inbox
from queuectl.model.settings import Settings
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import files, sharing, volume
from queuectl.system.clock import Clock

# Files taken in or refused by one look, and files watched while they arrive, at most.
_AT_ONCE = 100
# Rejected files that the summary names, at most.
_NAMED_MOST = 20
_WATCHED_AT_MOST = 1000
# Rejected files that are asked for their time by one look.
_HEALED_AT_MOST = 200
# Why a file was rejected is kept to this length for whoever looks; the text beside it has all of it.
_WHY_CHARS = 400
_MINUTE_S = 60.0
# Used signed ids that have expired are forgotten this often.
_SWEEP_S = 3600.0
# A copy over a network may pause for longer than one on this machine.
_NETWORK_SETTLE_S = 120.0
_FAR = (volume.NETWORK, volume.USERSPACE, volume.REMOVABLE, volume.SHARED)


class _File(NamedTuple):
    """A file that is no job so far. `kind`: arriving, unreadable (tried again) or foreign (no regular file)."""

    sig: files.FileSig | None
    since_s: float
    kind: str
    why: str
    hint: str = ""


class _NotYetError(Exception):
    """A file that may still become a job: what is missing, and what to do."""

    def __init__(self, why: str, hint: str = "write it again, whole") -> None:
        super().__init__(why)
        self.hint = hint


class Reception:
    """Takes in what lies in one inbox. `told` gathers what people should hear: level and text.

    `beat` is called between two steps of a look: whoever waits for the look sees that it goes on.
    """

    def __init__(
        self,
        spool: SpoolDir,
        settings: Settings,
        inbox: Inbox,
        path: str,
        *,
        clock: Clock,
        rng: random.Random,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._beat = beat
        self._spool = spool
        self._settings = settings
        self._inbox = msgspec.structs.replace(inbox, path=path)
        self._path = path
        self._clock = clock
        self._rng = rng
        self._keys = Keys(trust.keys_path(spool, inbox)) if inbox.keys else None
        self._folder: tuple[int, int] | None = None
        """Which folder the last look was at, by device and inode."""
        self._identity = ""
        self._owners = trust.owners(spool, settings) if inbox.mode == TRUSTED else None
        self._has_looked = False
        self._strange: set[str] = set()
        self._owed = Owed(spool, inbox, clock=clock, beat=beat)
        self._producer = Producer(Session(spool, settings, clock, rng))
        self._handover = Handover(spool, settings, inbox.owner, clock=clock, rng=rng, promise=self._promise)
        self._settle_s = _NETWORK_SETTLE_S if self.is_far() else settings.settle_s
        if isinstance(inbox.settle_s, int | float):
            self._settle_s = inbox.settle_s
        self._arriving: dict[str, _File] = {}
        self._tried_to = ""
        """The last file that the last look tried of those that are too many to be watched."""
        self._rejected: dict[str, files.FileSig] = {}
        """How rejected files were when they were looked at last."""
        self._refusals: dict[str, InboxRefusal] = {}
        """Why they were rejected, as far as that is known."""
        self._heal_from = 0
        self._acted_s: deque[float] = deque()
        """When files were taken in or refused, within the last minute (`max_per_minute`)."""
        self.refused = 0
        """How many files the last look refused."""
        self._texts = 0
        self._untold: list[str] = []
        """What was refused without a text of its own, by this look: names and reasons."""
        self._next_sweep_s = clock.monotonic()
        self._told_trouble = ""
        self._state = InboxState(owner=inbox.owner, path=path, mode=inbox.mode)
        self._shown: InboxState | None = None
        self._shown_s = 0.0
        self.told: list[tuple[str, str]] = []

    def is_far(self) -> bool:
        """True where the folder is not on a disk of this machine, so that no events tell of it."""
        return volume.of(self._path).nature in _FAR

    @property
    def state(self) -> InboxState:
        """What the last look found."""
        return self._state

    def step(self) -> list[str]:
        """One look, whatever comes of it; the names in pending/ of the jobs that were taken in."""
        try:
            if self._keys is not None:
                trust.check_keys(self._spool, self._settings)
            published = self.look()
        except OSError as error:
            self._trouble(self._words(error))
            return []
        except (UntrustedSpoolError, InvalidSettingsError) as error:
            self._trouble(f"{error}: {error.cause}; {error.hint}")
            return []
        if self._told_trouble:
            self.told.append(("info", "can be reached again"))
            self._told_trouble = ""
        return published

    def look(self) -> list[str]:
        """As `step`.

        Raises:
            UntrustedSpoolError, InvalidSettingsError: others can do more to the folder than the settings say.
            OSError: the folder or the spool cannot be used now.
        """
        with self._opened() as box:
            self._has_looked = True
            return self._look(box)

    def _opened(self) -> InboxDir:
        """The folder, judged and opened anew: modes change, and between two looks a share can be unmounted."""
        opened = trust.open_inbox(self._spool, self._inbox)
        try:
            identity = self._identity = self._spool.identity(self._rng)
            if self._folder not in (None, opened.identity):
                what = "another folder is there now: it was renamed, made or mounted anew"
                self.told.append(("warning", f"{self._path}: {what}; files are taken from this one"))
            self._folder = opened.identity
            return InboxDir(self._path, identity, rng=self._rng, tokens=self._handover.tokens, fd=opened.fd)
        except BaseException:
            if opened.fd >= 0:
                os.close(opened.fd)
            raise

    def _look(self, box: InboxDir) -> list[str]:
        found = box.look()
        for name in found.unfinished:
            try:
                is_there = not box.remove(name)
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                is_there = True
            if is_there:  # a folder, or what somebody else made of it: not worth an intake that stops
                found.foreign.append(name)
        published = self._handover.recover(box, found.claimed)
        found.foreign.extend(self._handover.strange)
        if new := sorted(set(self._handover.strange) - self._strange):
            more = f" ({len(new) - 1} more)" if new[1:] else ""
            self.told.append(("warning", f"{new[0]}{more} is left alone: its name says that this spool claimed it"))
        self._strange = set(self._handover.strange)
        jobs = [*found.jobs, *self._heal(box, found)]
        for name in box.orphan_texts(found):
            box.forget(name)
        self._texts = len(found.texts)
        left, held_back = self._take(box, jobs, published)
        self._summarise(box, found)
        try:
            self._owed.settle(box)
        finally:
            self.told += self._owed.told
            self._owed.told.clear()
        if self._keys is not None and self._clock.monotonic() >= self._next_sweep_s:
            self._next_sweep_s = self._clock.monotonic() + _SWEEP_S
            replay.sweep(self._spool, self._clock.now())
        self._state = self._as_seen(found, left, held_back, len(published))
        return published

    def finish(self) -> None:
        """The last receipts, when the pool has ended its jobs."""
        if self._has_looked:
            with contextlib.suppress(OSError, UntrustedSpoolError, InvalidSettingsError), self._opened() as box:
                self._owed.settle(box)
                self._handover.tokens.settle()

    def show(self, *, every_s: float) -> None:
        """Publish the state where it tells something new, and every `every_s` in any case."""
        now_s = self._clock.monotonic()
        new = self._shown is None or _news(self._shown) != _news(self._state)
        if new or now_s >= self._shown_s + every_s:
            with contextlib.suppress(OSError):
                inboxstate.publish(self._spool, self._state, rng=self._rng)
                self._shown, self._shown_s = self._state, now_s

    # ------------------------------------------------------------------------------------------------- taking in

    def _take(self, box: InboxDir, jobs: list[str], published: list[str]) -> tuple[list[str], str]:
        """Look at what lies there; those that are left for later, and which limit keeps them."""
        there = set(jobs)
        self._arriving = {name: item for name, item in self._arriving.items() if name in there}
        before, self.refused = len(published), 0
        room, rate = self._room() if jobs else (0, 0)
        left: list[str] = []
        limit = last = ""
        tried = 0
        for name in jobs:
            self._beat()
            try:
                acted = len(published) - before + self.refused
                may_refuse = acted < _AT_ONCE and not self._full(1, rate - acted)
                if name in self._arriving and self._is_as_it_was(box, name, may_refuse=may_refuse):
                    continue
                if full := self._full(room - (len(published) - before), rate - acted):
                    limit = full
                    left.append(name)
                    continue
                if name not in self._arriving and len(self._arriving) >= _WATCHED_AT_MOST:
                    # Some of the others at each look, in turn: what is never whole must not hold up what is.
                    if name <= self._tried_to or tried >= _AT_ONCE:
                        left.append(name)
                        continue
                    tried, last = tried + 1, name
                if acted >= _AT_ONCE:
                    left.append(name)
                    continue
                if taken := self._take_one(box, name):
                    published.append(taken)
                    self._acted_s.append(self._clock.monotonic())
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                self._watch(box, name, "unreadable", f"it cannot be taken: {error.strerror or error}")
        self._tried_to = last if tried >= _AT_ONCE else ""
        return left, limit

    def _room(self) -> tuple[int, int]:
        """How many may be taken in now, and how many may be taken in or refused."""
        room = self._inbox.max_waiting - self._owed.waiting()
        if not self._inbox.max_per_minute:
            self._acted_s.clear()
            return room, _AT_ONCE
        now_s = self._clock.monotonic()
        while self._acted_s and now_s - self._acted_s[0] >= _MINUTE_S:
            self._acted_s.popleft()
        return room, self._inbox.max_per_minute - len(self._acted_s)

    def _full(self, room: int, rate: int) -> str:
        """Which limit is reached, with these left of both."""
        if self._inbox.max_per_minute and rate <= 0:
            return f"max_per_minute = {self._inbox.max_per_minute}"
        return f"max_waiting = {self._inbox.max_waiting}" if room <= 0 else ""

    def _is_as_it_was(self, box: InboxDir, name: str, *, may_refuse: bool) -> bool:
        """True for a file that has not changed since it was looked at; one that is quiet for long is refused."""
        known = self._arriving[name]
        sig = box.sig_of(name)
        if sig != known.sig:
            return False
        if known.kind == "unreadable":
            return False
        is_quiet = sig and self._clock.monotonic() - known.since_s >= self._settle_s
        if known.kind == "arriving" and sig and is_quiet and may_refuse:
            with contextlib.suppress(PermissionError):  # its writer has it open (Windows)
                self._reject(box, name, sig, known.why, known.hint)
        return True

    def _take_one(self, box: InboxDir, name: str) -> str:
        """Take one file in; the job's name in pending/, or "" where it is none, or none yet."""
        sig: files.FileSig | None = None
        try:
            content = box.read(name, self._inbox.max_bytes)
            sig = content.sig
            prepared = self._judge(name, content)
        except FileNotFoundError:
            self._arriving.pop(name, None)
            return ""
        except files.NotRegularError:
            self._watch(box, name, "foreign", "it is no regular file")
            return ""
        except _NotYetError as error:
            known = self._arriving.get(name)
            since_s = known.since_s if known is not None and known.sig == sig else self._clock.monotonic()
            self._remember(name, _File(sig, since_s, "arriving", str(error), error.hint))
            return ""
        except InvalidJobError as error:
            if sig is not None:
                self._reject(box, name, sig, str(error), error.hint)
            return ""
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            self._watch(box, name, "unreadable", f"it cannot be read: {error.strerror or error}")
            return ""
        try:
            published = self._handover.hand_over(box, name, content, prepared)
        except InvalidJobError as error:
            self._reject(box, name, sig, str(error), error.hint)
            return ""
        if published:
            self._arriving.pop(name, None)
        return published

    def _judge(self, name: str, content: files.Content) -> Prepared:
        """The record of the job that a file holds. Raises _NotYetError, InvalidJobError."""
        if names.is_batch(name):
            raise InvalidJobError("it holds many jobs, and an inbox takes one a file", hint="write a file for each job")
        if content.oversize:
            raise _NotYetError(f"it is larger than {self._inbox.max_bytes} bytes", "put the data elsewhere and name it")
        if self._owners is not None and content.owner not in self._owners:
            why, hint = trust.foreign_owner(content.owner)
            raise InvalidJobError(why, hint=hint)
        if content.links != 1 and self._inbox.mode != TRUSTED:
            raise _NotYetError("it has a second name somewhere (a hard link)", "copy it instead")
        parsed = intake.parse(content.data, lines=False)
        if isinstance(parsed, intake.Incomplete):
            raise _NotYetError(parsed.why, parsed.hint)
        if isinstance(parsed, intake.Refused):
            raise InvalidJobError(parsed.why, hint=parsed.hint)
        if isinstance(parsed, intake.Many):
            raise InvalidJobError("it holds many jobs, and an inbox takes one a file", hint="write a file for each job")
        stem = name[: -len(".json")]
        admitted = admission.admit(
            parsed.document,
            inbox=self._inbox,
            commands=self._settings.commands,
            keys=self._keys,
            audience=self._inbox.audience or self._identity,
            stem=stem,
            now_at=self._clock.now(),
        )
        document = {**admitted.document}
        own = document.get("id") if "id" in parsed.document or admitted.key is not None else None
        if own is None:
            document["id"] = self._free_id(str(document.get("id") or names.clean_id(stem)))
        elif isinstance(own, str) and (found := self._spool.find(own)):
            if not document.get("history"):
                raise InvalidJobError(
                    f"the id {own!r} is in use: a job of that name is in {found.state}/",
                    key="id",
                    hint="give it another id, or leave the id out",
                )
            document["id"] = self._free_id(own)  # one of our records: it was accepted once
        return self._producer.prepare(document, by=BY, file=names.as_text(name))

    def _promise(self, item: record.Record, data: bytes, token: str) -> None:
        """Before a job is published: a signed one is the first of its id, and it is noted who is to hear of it."""
        if self._inbox.mode == SIGNED:
            facts = json.loads(data)
            is_first = replay.remember(
                self._spool,
                key=str(facts["signed_by"]),
                job_id=item.id,
                expires_at=times.from_text(facts["expires_at"]),
                token=token,
                rng=self._rng,
                sync=self._settings.durability != "off",
            )
            if not is_first:
                raise InvalidJobError(
                    f"the signed id {item.id!r} was used already", key="id", hint="sign it anew, with another id"
                )
        self._owed.promise(item)

    def _free_id(self, wanted: str) -> str:
        """`wanted`, or where that is in use the same with the day and time."""
        made = wanted
        while self._spool.find(made) is not None:
            stamp = times.to_name(int(self._clock.now())).rstrip("Z")
            made = names.with_suffix(wanted, f"{stamp}-{names.new_token(self._rng, 2)}")
        return made

    def _watch(self, box: InboxDir, name: str, kind: str, why: str) -> None:
        """Leave a file for later; told once."""
        is_new = name not in self._arriving
        if self._remember(name, _File(box.sig_of(name), self._clock.monotonic(), kind, why)) and is_new:
            self.told.append(("warning", f"{name} is left for now: {why}"))

    def _remember(self, name: str, item: _File) -> bool:
        """Watch a file from now on; False where too many are watched."""
        if name not in self._arriving and len(self._arriving) >= _WATCHED_AT_MOST:
            return False
        self._arriving[name] = item
        return True

    # --------------------------------------------------------------------------------------------- what is refused

    def _reject(self, box: InboxDir, name: str, sig: files.FileSig, why: str, hint: str) -> None:
        has_text = self._texts < self._inbox.max_rejected
        target = box.reject(name, sig, why, hint, now_at=self._clock.now(), has_text=has_text)
        self._arriving.pop(name, None)
        if not target:
            return
        self._rejected[target] = sig
        self._refusals[target] = InboxRefusal(target, why[:_WHY_CHARS], times.to_text(self._clock.now()))
        self.refused += 1
        self._acted_s.append(self._clock.monotonic())
        if has_text:
            self._texts += 1
            self.told.append(("warning", f"{name} was rejected: {why}"))
        else:
            self._untold.append(f"{name}: {why}")

    def _summarise(self, box: InboxDir, found: Listing) -> None:
        """One text tells of all that were refused without a text of their own; it goes when they are gone."""
        texts = set(found.texts)
        count = len(self._untold) + sum(f"{name}.txt" not in texts for name in found.rejected)
        if self._untold:
            self.told.append(("warning", f"{len(self._untold)} more were rejected; {folder.SUMMARY} says why"))
            try:
                box.put_summary(count, self._untold[-_NAMED_MOST:], self._inbox.max_rejected, now_at=self._clock.now())
            except files.NotRegularError:
                self.told.append(("warning", f"{folder.SUMMARY} cannot be written: a folder has this name"))
            self._untold = []
        elif found.has_summary and not count:
            box.forget(folder.SUMMARY)

    def _heal(self, box: InboxDir, found: Listing) -> list[str]:
        """Rejected files that have become jobs have their own names again; those names."""
        there = set(found.rejected)
        self._rejected = {name: sig for name, sig in self._rejected.items() if name in there}
        self._refusals = {name: row for name, row in self._refusals.items() if name in there}
        listed = found.rejected
        if len(listed) > _HEALED_AT_MOST:
            start = self._heal_from % len(listed)
            listed = (listed[start:] + listed[:start])[:_HEALED_AT_MOST]
            self._heal_from = start + _HEALED_AT_MOST
        healed = []
        for rejected in listed:
            self._beat()
            if (name := self._healed(box, rejected)) and name not in found.jobs:
                healed.append(name)
                self.told.append(("info", f"{name} is a valid job now"))
        return healed

    def _healed(self, box: InboxDir, rejected: str) -> str:
        sig = box.sig_of(rejected)
        if sig is None:
            return ""
        known = self._rejected.get(rejected)
        if known is None:
            told = box.rejection(rejected)
            self._refusals[rejected] = InboxRefusal(rejected, told.why[:_WHY_CHARS], told.at)
            changed = bool(told.version) and not folder.is_version(sig, told.version)
        else:
            changed = known != sig
        self._rejected[rejected] = sig
        if not changed:
            return ""
        try:
            content = box.read(rejected, self._inbox.max_bytes)
            self._judge(rejected.removesuffix(".rejected"), content)
        except (OSError, InvalidJobError, _NotYetError):
            return ""
        return box.take_back(rejected)

    # ---------------------------------------------------------------------------------------------------- the state

    def _as_seen(self, found: Listing, left: list[str], held_back: str, published: int) -> InboxState:
        now_s = self._clock.monotonic()
        open_files = [(name, item) for name, item in self._arriving.items() if item.kind != "foreign"]
        foreign = [*found.foreign, *(name for name, item in self._arriving.items() if item.kind == "foreign")]
        rows = tuple(
            InboxFile(name, item.sig.size if item.sig else 0, round(now_s - item.since_s, 1), item.why)
            for name, item in open_files[: inboxstate.ROWS]
        )
        return InboxState(
            owner=self._inbox.owner,
            path=self._path,
            mode=self._inbox.mode,
            listed_at=times.to_text(self._clock.now()),
            waiting=len(left),
            next=tuple(left[: inboxstate.ROWS]),
            arriving=len(open_files),
            rows=rows,
            held_back=held_back,
            rejected=len(self._rejected) if len(found.rejected) <= _HEALED_AT_MOST else len(found.rejected),
            refused=tuple(
                heapq.nlargest(inboxstate.ROWS, self._refusals.values(), key=lambda row: (row.rejected_at, row.name))
            ),
            left_alone=len(foreign),
            foreign=tuple(sorted(foreign)[:3]),
            taken=self._state.taken + published,
        )

    def _words(self, error: OSError) -> str:
        where = os.path.join(self._path, error.filename) if error.filename else self._path
        if isinstance(error, FileNotFoundError) and where == self._path:
            return f"there is no folder {self._path}; make it, or take it out of {self._spool.settings_path}"
        return f"{error.strerror or error}: {where}"

    def _trouble(self, text: str) -> None:
        if text != self._told_trouble:
            self._told_trouble = text
            self.told.append(("warning", f"{text}; tried again by itself"))
        self._state = msgspec.structs.replace(self._state, trouble=text)


def _news(state: InboxState) -> object:
    """What of a state is worth being written anew at once: not how long files are quiet."""
    rows = tuple((row.name, row.size, row.why) for row in state.rows)
    return (
        state.waiting,
        state.arriving,
        rows,
        state.held_back,
        state.rejected,
        state.refused,
        state.foreign,
        state.taken,
        state.trouble,
    )
