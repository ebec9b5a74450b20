"""The repairs of `check`: they lose no byte and start no job (P6, P7).

Each is called under the stripe of the job's id, and makes sure that the file is still the one that was judged, because
`purge` and people take no stripe. A file whose bytes change is kept as it was in rejected/, beside a text.
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
    """Repairs files of one spool. What each method returns is to be told beside what was done."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def give_own_id(self, view: View) -> str:
        """Give a job whose id is in use another one, as `jobs.repair` does; return it."""
        assert view.item is not None
        stored = Stored(view.item, view.data, view.sig)
        return repair.give_own_id(self._session, view.where, stored, view.stem)

    def rewrite(self, view: View, fault: Fault) -> str:
        """Give a file other bytes; those it had are kept."""
        stem = view.where.name.removesuffix(".json").partition(",")[0]
        keep = repair.Kept(
            f"{stem}.{fault.code}.json",
            f"{view.shown}, as it was before `check --repair`: {fault.text}",
            "delete both files if nothing is missing in the repaired one",
        )
        return f"as it was it is {REJECTED}/{self._replace(view, fault.data, keep)}"

    def _replace(self, view: View, data: bytes, keep: repair.Kept | None = None) -> str:
        return repair.rewrite(self._session, repair.Old(view.where.path, view.data, view.sig), data, keep)

    def move(self, view: View, target: Located) -> None:
        """Move a file to where it belongs. Raises FileExistsError if something is there."""
        self._check_unchanged(view)
        disk.move(view.where.path, target.path)

    def set_aside(self, view: View, why: str, hint: str) -> str:
        """Move a file to rejected/; its name there, where it is another."""
        self._check_unchanged(view)
        name = reject.reject(self._session, view.where, view.where.name, why, hint)
        return name if name != view.where.name else ""

    def drop(self, view: View) -> None:
        """Take away one of two names of a file."""
        self._check_unchanged(view)
        disk.unlink(view.where.path)

    @staticmethod
    def _check_unchanged(view: View) -> None:
        """`purge` and people take no stripe."""
        if files.sig_of(view.where.path) != view.sig:
            raise GoneError
