"""Split a flow, a file whose jobs name each other: check all of it, then publish parents first (P6, P13).

A file may be a flow if its text has one of the keys. It then goes through phases, each in steps that any worker makes:

    looking    does a document have one of the keys? If none has, the file is `plain` and split like any other
    checking   each document is checked, and what it says of others is written to the plan, a part a step
    flow       the jobs are published in the order that all parts of the plan give

Nothing is published before the last document is checked, so a file with a mistake is refused as a whole. The plan only
repeats the file: each worker reads the parts that it does not know yet, and computes the same order from them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from queuectl.errors import InvalidJobError
from queuectl.jobs.batch_documents import Documents, Item
from queuectl.jobs.enqueue import Producer
from queuectl.model import document, flow
from queuectl.model.flow import Draft, Flow, Wanted
from queuectl.spool import batch
from queuectl.spool.batch import Note
from queuectl.spool.folder import SpoolDir
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.system import disk, files

LOOKING, CHECKING, FLOW, PLAIN = "looking", "checking", "flow", "plain"
_PART_MAX_BYTES = 64 * 1024 * 1024
_WHY_CHARS = 500


class _Plan:
    """What is known of a file: its documents so far, and where each is."""

    def __init__(self, token: str) -> None:
        self.flow = Flow(token)
        self.parts = 0
        """How many parts were read or written."""
        self.lines = array("Q")
        self.spans = array("Q")
        self._order: Sequence[int] | None = None

    def add(self, item: Item, found: Draft) -> list[Any]:
        """Add a document; return its row in the plan. Raises InvalidJobError."""
        self.flow.add(found)
        self._place(item.line, *item.span)
        row: list[Any] = [item.line, *item.span]
        return [*row, found.ref, found.after] if found.ref or found.after else row

    def load(self, row: Sequence[Any]) -> None:
        """Add a document by its row in the plan."""
        ref, after = row[3:] or ("", ())
        self.flow.add(Draft(ref, tuple(Wanted(*each) for each in after)))
        self._place(*row[:3])

    def _place(self, line: int, start: int, end: int) -> None:
        self.lines.append(line)
        self.spans.extend((start, end))

    def span(self, place: int) -> tuple[int, int]:
        """Return the byte range of a document."""
        return self.spans[2 * place - 2], self.spans[2 * place - 1]

    @property
    def order(self) -> Sequence[int]:
        """The places in the order of publishing."""
        if self._order is None:
            listed = self.flow.order()
            self._order = listed if isinstance(listed, range) else array("Q", listed)
        return self._order


class FlowSplit:
    """Checks the flows of one spool, and says what is to be published. The caller holds the stripe of the token."""

    def __init__(self, session: Session, roster: Roster, documents: Documents) -> None:
        self._session = session
        self._spool: SpoolDir = session.spool
        self._roster = roster
        self._documents = documents
        self._producer = Producer(session)
        self._plans: dict[str, _Plan] = {}

    def forget(self, taken: str) -> None:
        """Forget a file: it is split, refused, or a step failed."""
        self._plans.pop(taken, None)

    def delete_plan(self, taken: str, note: Note) -> None:
        """Delete the plan of a file, which its jobs do not need any more."""
        self.forget(taken)
        for path in batch.plan_paths(self._spool, batch.token_of(taken), note.parts + 1):
            disk.unlink(path)

    def look(self, path: str, fd: int, note: Note, is_late: Callable[[], bool]) -> Note:
        """Look for a document that makes the file a flow; return the next note."""
        for item, line, offset in self._documents.after(path, fd, note):
            if item is not None and flow.is_part(item.content):
                return replace(note, offset=0, line=0, place=0, phase=CHECKING)
            note = replace(note, line=line, offset=offset, place=note.place if item is None else item.place)
            if is_late():
                return note
        return replace(note, offset=0, line=0, place=0, phase=PLAIN)

    def check(self, taken: str, path: str, fd: int, note: Note, is_late: Callable[[], bool]) -> Note | document.Refused:
        """Check some documents; return the next note, or why the file is refused."""
        plan = self._plan(taken, note)
        rows: list[list[Any]] = []
        is_over = True
        for item, line, offset in self._documents.after(path, fd, note):
            if item is not None:
                try:
                    rows.append(plan.add(item, self._checked(plan.flow.token, item)))
                except InvalidJobError as error:
                    where, why = _where(item.line, item.place), str(error)
                    why = why if why.startswith(f"{where} ") else f"{where}: {why}"
                    return document.Refused(why[:_WHY_CHARS], error.hint)
            note = replace(note, line=line, offset=offset, place=note.place if item is None else item.place)
            if is_late():
                is_over = False
                break
        if rows:
            self._write_part(taken, note.parts, rows)
            plan.parts = note.parts + 1
            note = replace(note, parts=plan.parts)
        if not is_over:
            return note
        mistake = plan.flow.settle(self._is_held)
        if mistake is not None:
            where = _where(plan.lines[mistake.place - 1], mistake.place)
            return document.Refused(f"{where}: {mistake.why}"[:_WHY_CHARS], mistake.hint)
        return replace(note, offset=0, line=0, place=0, phase=FLOW)

    def items(self, taken: str, path: str, fd: int, note: Note) -> Iterator[Item]:
        """Yield the documents that are still to be published, parents first, as documents of their jobs."""
        plan = self._plan(taken, note)
        order = plan.order
        for turn in range(note.place + 1, len(order) + 1):
            place = order[turn - 1]
            line = plan.lines[place - 1]
            found = self._documents.at(path, fd, place, plan.span(place), line)
            content = found if isinstance(found, document.Refused) else plan.flow.made(place, found)
            yield Item(content, line, place, None, turn, plan.flow.id_of(place))

    def _checked(self, token: str, item: Item) -> Draft:
        """Check one document as a job of its own, with parents as long as they will be. Raises InvalidJobError."""
        if isinstance(item.content, document.Refused):
            raise InvalidJobError(item.content.why, hint=item.content.hint)
        found = flow.draft(item.content)
        trial = {key: value for key, value in item.content.items() if key not in ("ref", "after", "history")}
        named = [each.name for each in found.after if each.name != flow.STAR]
        if named:
            trial["after"] = [f"{token}-{name}" if len(name) <= flow.REF_MAX_CHARS else name for name in named]
        self._producer.prepare({**trial, "id": token}, by="batch", batch=f"{token}#{item.place}")
        return found

    def _is_held(self, job_id: str) -> bool:
        return self._roster.find(job_id) is not None

    def _plan(self, taken: str, note: Note) -> _Plan:
        """Return what is known of a file, with the parts that other workers wrote."""
        plan = self._plans.get(taken)
        token = batch.token_of(taken)
        if plan is None or plan.parts > note.parts:
            plan = self._plans[taken] = _Plan(token)
        for number in range(plan.parts, note.parts):
            for row in json.loads(files.read(self._spool.plan_path(token, number), _PART_MAX_BYTES).data):
                plan.load(row)
            plan.parts = number + 1
        return plan

    def _write_part(self, taken: str, number: int, rows: list[list[Any]]) -> None:
        # Only as certain as the note that counts it: after a power cut the note is the older one, or both are there.
        token = batch.token_of(taken)
        data = json.dumps(rows, ensure_ascii=True).encode()
        self._spool.replace_file(
            self._spool.plan_path(token, number), data, hint=token, sync=self._session.syncs_accepted
        )


def _where(line: int, place: int) -> str:
    return f"line {line}" if line else f"element {place}"
