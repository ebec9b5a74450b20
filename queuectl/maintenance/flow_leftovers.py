"""Report what is left in gates/, victims/ and unique/: void notes, and files of other programs.

A note is void only by the record of its job, read under the stripe: whoever writes one holds the stripe until the job's
end is on record. Files that queuectl does not know are left alone (P11).
"""

from __future__ import annotations

import os

from queuectl.errors import DamagedRecordError
from queuectl.jobs.revive import is_victim
from queuectl.maintenance import key_note_sweep
from queuectl.maintenance.findings import Act, GoneError, Inspection, Repair
from queuectl.model import names
from queuectl.model.uniqueness import Note
from queuectl.spool import victims
from queuectl.spool.layout import KEYS_ENDING, STARTS_ENDING
from queuectl.spool.stripes import Stripes
from queuectl.system import files

# What a gate has beside its board.
_GATE_ENDINGS = (".lock", STARTS_ENDING)


class FlowLeftovers:
    """Examines the machinery of queues and of jobs that wait for others."""

    def __init__(self, inspection: Inspection) -> None:
        self._session, self._findings, _ = inspection
        self._spool = self._session.spool

    def gates(self) -> None:
        """Report files in gates/ that belong to no queue."""
        if not os.path.isdir(self._spool.gate_dir):
            return
        for name in sorted(self._spool.names(self._spool.gate_dir)):
            path = os.path.join(self._spool.gate_dir, name)
            if name.endswith(KEYS_ENDING) and not names.why_bad_queue(name.removesuffix(KEYS_ENDING)):
                self._keys(path)
                continue
            ending = next((each for each in _GATE_ENDINGS if name.endswith(each)), "")
            if names.why_bad_queue(name.removesuffix(ending)) or not files.is_regular(path):
                self._foreign(path)

    def _keys(self, folder: str) -> None:
        """Report files among the logs of keys that are none."""
        if os.path.islink(folder) or not os.path.isdir(folder):
            self._foreign(folder)
            return
        for name in sorted(self._spool.names(folder)):
            path = os.path.join(folder, name)
            if not name.endswith(STARTS_ENDING) or not files.is_regular(path):
                self._foreign(path)

    def victims(self, *, reads: bool) -> None:
        """Report notes about jobs that did not die of their parent; without `reads`, only foreign files."""
        if not victims.has_any(self._spool):
            return
        stripes = Stripes(self._spool)
        try:
            for parent in victims.parents(self._spool):
                folder = self._spool.victims_of(parent)
                if os.path.islink(folder) or not os.path.isdir(folder) or names.why_bad_id(parent):
                    self._foreign(folder)
                    continue
                for child in victims.children(self._spool, parent):
                    self._note(stripes, parent, child, reads=reads)
        finally:
            stripes.close()

    def key_notes(self) -> None:
        """Report key notes whose jobs have ended or are gone, and files in unique/ that are none."""
        folder = self._spool.unique_dir
        if not os.path.isdir(folder):
            return
        noted = []
        for name in sorted(self._spool.names(folder)):
            path = os.path.join(folder, name)
            if not key_note_sweep.is_note_name(name) or not files.is_regular(path):
                self._foreign(path)
            elif "." not in name:
                noted.append(name)
        for name, note in key_note_sweep.void(self._spool, noted, self._session.clock.now()):
            text = f"is about {note.id}, which has ended or is gone"
            shown = self._shown(os.path.join(folder, name))
            self._findings.info("key_note", shown, text, Repair("deleted", self._forget_note(name, note)))

    def _forget_note(self, name: str, note: Note) -> Act:
        def act() -> None:
            if not key_note_sweep.forget_void(self._spool, name, note):
                raise GoneError

        return act

    def _note(self, stripes: Stripes, parent: str, child: str, *, reads: bool) -> None:
        path = self._spool.victim_path(parent, child)
        if names.why_bad_id(child) or not files.is_regular(path):
            self._foreign(path)
        elif reads and self._is_void(stripes, parent, child):
            text = f"says that {child} is dead because of {parent}, but it is not"
            self._findings.info("victim", self._shown(path), text, Repair("deleted", self._act(stripes, parent, child)))

    def _is_void(self, stripes: Stripes, parent: str, child: str) -> bool:
        stripe = stripes.of(child)
        if not stripe.try_acquire():
            return False  # somebody works on the job: it may be about to die
        try:
            found = self._spool.find(child)
            return found is None or not is_victim(self._spool.read(found.state, found.name).record, parent)
        except (DamagedRecordError, FileNotFoundError, files.NotRegularError):
            return False  # its record is a finding of its own
        finally:
            stripe.release()

    def _act(self, stripes: Stripes, parent: str, child: str) -> Act:
        def act() -> None:
            if not self._is_void(stripes, parent, child):
                raise GoneError
            victims.forget(self._spool, parent, child)
            victims.tidy(self._spool, parent)

        return act

    def _foreign(self, path: str) -> None:
        if os.path.lexists(path):
            self._findings.info("foreign", self._shown(path), "is not a file of queuectl; left alone")

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._spool.root).replace(os.sep, "/")
