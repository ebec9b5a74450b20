"""Say what is wrong with one file in a state's folder, by its content and its place. Change nothing.

The folder of a job is its state, whatever its record says (P2): a power cut may lose the end of a record but keep the
move that followed. So a record that does not explain its folder is only worth a note, and a record whose outcome leads
elsewhere is a fault.
"""

from __future__ import annotations

import contextlib
import math
from typing import NamedTuple

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.maintenance.debris import FileAge
from queuectl.model import history, job, lifecycle, names, record, times
from queuectl.model.document import Incomplete, Many, Refused, Single, accept, parse
from queuectl.model.extras import DEFAULT_QUEUE
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REQUEUED, RUNNING, STARTED
from queuectl.model.settings import Settings
from queuectl.spool.folder import RECORD_MAX_BYTES, SpoolDir
from queuectl.spool.layout import Located, name_for, record_name
from queuectl.spool.lease import is_alive
from queuectl.system import files

# Due times in names and records are whole milliseconds; a time this near may come due during the check.
_SAME_S = 0.002
_SOON_S = 1.0
# The clocks of two machines differ by less; a clock that was set back shows in the order of events.
_AHEAD_S = 60.0
_BACK_S = 3600.0


class View(NamedTuple):
    """One file as it was read. `item` is None if it is not a framed record; `error` says why it could not be read."""

    where: Located
    sig: files.FileSig
    data: bytes
    item: record.Record | None
    error: str = ""
    code: str = ""

    @property
    def shown(self) -> str:
        """The path from the spool's root."""
        return f"{self.where.state}/{self.where.name}"

    @property
    def stem(self) -> str:
        """The id in the file's name."""
        return stem_of(self.where.state, self.where.name)


class Fault(NamedTuple):
    """What is wrong with a file, and its right content (`data`) or its right place (`target`)."""

    code: str
    text: str
    data: bytes = b""
    target: Located | None = None


class Judge:
    """Judges files. `now_at` is the instant that due times are compared with."""

    def __init__(self, spool: SpoolDir, settings: Settings, age: FileAge, *, now_at: float) -> None:
        self._spool = spool
        self._settings = settings
        self._age = age
        self._now_at = now_at
        self._ahead_text = times.to_text(now_at + _AHEAD_S)

    def view(self, state: str, name: str) -> View | None:
        """Read one file; None if it is gone."""
        where = Located(state, name, self._spool.path(state, name))
        try:
            content = files.read(where.path, RECORD_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            foreign = isinstance(error, files.NotRegularError)
            text = "is not a regular file; left alone" if foreign else f"cannot be read: {error.strerror}"
            sig = files.sig_of(where.path)
            return None if sig is None else View(where, sig, b"", None, text, "foreign" if foreign else "unreadable")
        if content.oversize:
            text = f"is larger than {RECORD_MAX_BYTES} bytes, the limit of a record; left alone"
            return View(where, content.sig, b"", None, text, "foreign")
        item = None
        if record.is_framed(content.data):
            with contextlib.suppress(DamagedRecordError):
                item = record.decode(content.data)
        return View(where, content.sig, content.data, item)

    def fault(self, view: View) -> Fault | None:
        """Return the first fault of a file, by its content."""
        if view.error:
            known = view.where.state == PENDING and view.code == "unreadable"  # tried again, never refused
            return None if known else Fault(view.code, view.error)
        if view.item is None:
            return self._fault_of_other(view)
        state, item = view.where.state, view.item
        now = item.standing()
        if state == RUNNING:
            return self._fault_of_run(view, now)
        if state == PENDING:
            return self._fault_of_name(view, item, now)
        if now.ended_to != state:
            if now.ended_to in (DONE, DLQ):
                text = f"its record says {_last(now)}, so it belongs in {now.ended_to}/"
                return Fault("misplaced", text, target=self._located(now.ended_to, record_name(item.id)))
            if view.where.name == record_name(item.id):
                return Fault("parked", _parked(state, item, now))
        if view.where.name != record_name(item.id) and not self._is_same(view, record_name(item.id)):
            text = f"its record has the id {item.id!r}"
            return Fault("name", text, target=self._located(state, record_name(item.id)))
        return None

    def _fault_of_run(self, view: View, now: history.Standing) -> Fault | None:
        last = now.last
        if last is None or last.event not in (STARTED, *lifecycle.ENDINGS):
            return Fault("orphan", "its worker died before the start")
        if last.event in lifecycle.ENDINGS:
            return Fault("orphan", f"it has ended ({last.event}) but was not moved")
        return None if is_alive(self._spool, last.lease) else Fault("orphan", "its worker died")

    def _fault_of_name(self, view: View, item: record.Record, now: history.Standing) -> Fault | None:
        """Judge a name in pending/: it is only a hint, but it decides when and in which order files are opened."""
        parts = names.parse(view.where.name)
        if parts is None:
            return None
        wanted = name_for(item, now, self._now_at, parts.arrived)
        if names.is_held(view.where.name):
            wanted = names.held_name(wanted)
        target = self._located(PENDING, wanted)
        if parts.stem != item.id:
            if self._is_same(view, target.name):
                return None
            return Fault("drop", f"its record has the id {item.id!r}, which the next claim uses", target=target)
        due_at = None if history.is_due(now.due_at, now.delay_s, self._now_at) else now.due_at
        named_at = parts.due_at if parts.due_at is not None and parts.due_at > self._now_at else None
        if any(at is not None and at - self._now_at < _SOON_S for at in (due_at, named_at)):
            named_at = due_at
        apart_s = 0.0 if due_at is named_at else abs((due_at or math.inf) - (named_at or 0.0))
        if apart_s > _SAME_S:
            return Fault("flags", f"its record is due {_instant(due_at)}, its name {_instant(named_at)}", target=target)
        if parts.priority != item.priority:
            text = f"its record has the priority {item.priority}, its name {parts.priority}"
            return Fault("flags", text, target=target)
        if parts.owner not in ("", item.owner):  # a name without an owner only costs turns; no claim renames for that
            text = f"its record has the owner {item.owner!r}, its name {parts.owner!r}"
            return Fault("flags", text, target=target)
        if (named := (parts.queue, parts.key, parts.needs)) != item.place:
            text = f"its record has {_place(item.place)}, its name {_place(named)}"
            return Fault("flags", text, target=target)
        return None

    def _fault_of_other(self, view: View) -> Fault | None:
        """Return the fault of a file in a state's folder that is not a framed record."""
        state, data = view.where.state, view.data
        whole = record.repair(data)
        parsed = parse(data, lines=False)
        # A text that parses was edited and keeps its edits, unless only the end of the record's closing is missing.
        if whole is not None and (isinstance(parsed, Incomplete) or whole.startswith(data)):
            if state == PENDING and not self._age.is_over(view.sig, self._settings.settle_s):
                return None  # may be arriving
            return Fault("torn", _torn(data, whole), whole)
        if isinstance(parsed, Incomplete | Refused):
            if state == PENDING:
                return None  # for the workers to judge
            if state == RUNNING:
                return Fault("orphan", "it was claimed but not accepted")
            if isinstance(parsed, Refused):
                return Fault("invalid", f"is not a record: {parsed.why}")
            return Fault("damaged", f"is not a record, and nothing in it can be saved: {parsed.why}")
        if state == PENDING:
            return None
        if state == RUNNING:
            return Fault("orphan", "it was claimed but not accepted")
        if isinstance(parsed, Many):
            return Fault("foreign", "is not a record; left alone")
        return self._fault_of_document(view, parsed)

    def _fault_of_document(self, view: View, parsed: Single) -> Fault:
        document = parsed.document
        version = document.get("format")
        if isinstance(version, int) and version > job.FORMAT_VERSION:
            return Fault("later", f"was written by a later queuectl, in format {version}; left alone")
        if not document.get("history"):
            return Fault("foreign", f"is not a record, because it has no history; move it to {PENDING}/ to run it")
        try:
            taken = accept(document, defaults=self._settings.retry_defaults, now_at=self._now_at)
            spec = {**taken.spec, "id": taken.spec.get("id") or names.clean_id(view.stem)}
            whole = record.frame(spec, taken.history)
            record.decode(whole)
        except (InvalidJobError, DamagedRecordError) as error:
            return Fault("invalid", f"was edited and is no longer a valid record: {error}")
        return Fault("edited", "was edited: it no longer has the layout that queuectl writes", whole)

    def clock_fault(self, item: record.Record) -> str:
        """Return how a wrong clock shows in the events, or "". Texts sort like the instants, so few are parsed."""
        last = ""
        for event in item.history:
            if event.at < last and _seconds_between(event.at, last) > _BACK_S:
                return "with an event dated long before the previous event"
            last = event.at
        if last > self._ahead_text and _seconds_between(self._ahead_text, last) > 0:
            return "whose last event is in the future by this machine's clock"
        return ""

    def _located(self, state: str, name: str) -> Located:
        return Located(state, name, self._spool.path(state, name))

    def _is_same(self, view: View, name: str) -> bool:
        """Whether `name` is this very file, because the file system ignores case."""
        if view.where.name.lower() != name.lower():
            return False
        sig = files.sig_of(self._spool.path(view.where.state, name))
        return sig is not None and sig.inode == view.sig.inode


def stem_of(state: str, name: str) -> str:
    """Return the id in a file's name."""
    parts = names.parse(name) if state == PENDING and "," in name else None
    return name.removesuffix(".json") if parts is None else parts.stem


def _torn(data: bytes, whole: bytes) -> str:
    if record.loses_events(data, whole):
        return "is damaged before its end; events follow the damage"
    if data.startswith(whole):
        return "has data after its end"
    return "its end is cut off"


def _parked(state: str, item: record.Record, now: history.Standing) -> str:
    if state == DLQ and now.last is not None and now.last.event == REQUEUED:
        return f"was about to run again, but the retry was interrupted; queuectl retry {item.id}  completes it"
    return f"its record does not say how it came here (last event: {_last(now)}); the folder decides"


def _last(now: history.Standing) -> str:
    return "nothing" if now.last is None else f"{now.last.event}"


def _instant(instant_at: float | None) -> str:
    return "now" if instant_at is None else f"at {times.to_text(instant_at)}"


def _seconds_between(early: str, late: str) -> float:
    """Return the seconds between two instants as texts; 0 if one is not an instant."""
    try:
        return times.from_text(late) - times.from_text(early)
    except ValueError:
        return 0.0


def _place(place: tuple[str, str, str]) -> str:
    queue, key, needs = place
    parts = (f" and the key {key!r}" if key else "", f" and the needs {needs!r}" if needs else "")
    return f"the queue {queue or DEFAULT_QUEUE!r}{''.join(parts)}"
