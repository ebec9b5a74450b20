"""The repairs of `check`: they lose no byte and start no job (P6, P7).

The caller holds the stripe of the job's id. Each repair verifies that the file is still the one that was judged,
because `purge` and people take no stripe. If a repair changes bytes, a copy of the old file is kept in rejected/ with a
reason.
"""

from __future__ import annotations

from queuectl.jobs import reject, repair
from queuectl.maintenance.faults import Fault, View
from queuectl.maintenance.findings import GoneError
from queuectl.model.lifecycle import REJECTED
from queuectl.spool.folder import Stored
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.system import disk, files


class Repairs:
    """Repairs files of one spool. Each method returns words to report with the repair."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def give_own_id(self, view: View) -> str:
        """Give a new id to a job whose id is in use, as `jobs.repair` does; return the id."""
        assert view.item is not None
        stored = Stored(view.item, view.data, view.sig)
        return repair.give_own_id(self._session, view.where, stored, view.stem)

    def rewrite(self, view: View, fault: Fault) -> str:
        """Replace the bytes of a file; keep the old ones."""
        stem = view.where.name.removesuffix(".json").partition(",")[0]
        keep = repair.Kept(
            f"{stem}.{fault.code}.json",
            f"a copy of {view.shown} from before `check --repair`: the record {fault.text}",
            "compare it with the repaired job; if nothing is missing there, delete both files",
        )
        return f"a copy of the old file is {REJECTED}/{self._replace(view, fault.data, keep)}"

    def _replace(self, view: View, data: bytes, keep: repair.Kept | None = None) -> str:
        return repair.rewrite(self._session, repair.Old(view.where.path, view.data, view.sig), data, keep)

    def move(self, view: View, target: Located) -> None:
        """Move a file to its right place. Raises FileExistsError if the place is taken."""
        self._check_unchanged(view)
        disk.move(view.where.path, target.path)

    def set_aside(self, view: View, why: str, hint: str) -> str:
        """Move a file to rejected/; return its name there if that differs, else ""."""
        self._check_unchanged(view)
        name = reject.reject(self._session, view.where, view.where.name, why, hint)
        return name if name != view.where.name else ""

    def drop(self, view: View) -> None:
        """Delete one of two names of a file."""
        self._check_unchanged(view)
        disk.unlink(view.where.path)

    @staticmethod
    def _check_unchanged(view: View) -> None:
        """Raise GoneError if the file has changed, because `purge` and people take no stripe."""
        if files.sig_of(view.where.path) != view.sig:
            raise GoneError
