"""Several files with one id: copies of one job, of which one stays, or different jobs, which all stay (P2, P7).

The caller holds the stripe of the id and has read the files under it.
"""

from __future__ import annotations

from functools import partial

from queuectl.maintenance.faults import Judge, View
from queuectl.maintenance.findings import Findings, Repair
from queuectl.maintenance.repairs import Repairs
from queuectl.model import history, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING

# `SpoolDir.find` looks in this order.
ORDER = (RUNNING, PENDING, DONE, DLQ)


class Twins:
    """Distinguishes copies from different jobs, reports both and repairs what a program can repair."""

    def __init__(self, findings: Findings, judge: Judge, repairs: Repairs) -> None:
        self._findings = findings
        self._judge = judge
        self._repairs = repairs

    def resolve(self, key: str, views: list[View]) -> list[View]:
        """Resolve files that share an id; return the files still to be checked one by one."""
        alone: list[View] = []
        twins: dict[str, list[View]] = {}
        for view in views:
            item = view.item
            if item is None or item.id.lower() != key or (view.where.state == PENDING and item.id != view.stem):
                alone.append(view)
            else:
                twins.setdefault(item.id, []).append(view)
        first = next(iter(twins.values()), [])
        for group in twins.values():
            if group is not first:
                text = f"its id differs only in case from that of {first[0].shown}"
                self._findings.info("case", group[0].shown, f"{text}; on Windows and macOS both would be one file")
            alone += self._resolve_group(group)
        return alone

    def _resolve_group(self, group: list[View]) -> list[View]:
        """Keep the copy of a job with the longest history; keep all different jobs."""
        best = max(group, key=_rank)
        different: list[View] = []
        for view in group:
            if view is best:
                continue
            if _waits_to_run_again(view, best):
                text = f"waits to run again and has the id of {best.shown}: a worker will give it a new id"
                self._findings.info("copy", view.shown, text)
            elif view.sig.inode == best.sig.inode:
                text = f"is a second name of the same file as {best.shown}"
                self._findings.problem(
                    "duplicate", view.shown, text, Repair("unlinked", partial(self._repairs.drop, view))
                )
            elif record.is_earlier(view.data, best.data):
                text = f"is {'a' if view.data == best.data else 'an earlier'} copy of {best.shown}"
                act = partial(self._repairs.set_aside, view, f"it {text}", "delete both files: nothing is missing")
                self._findings.problem("duplicate", view.shown, text, Repair(f"moved to {REJECTED}/", act))
            else:
                different.append(view)
        keeper = next((view for view in different if view.where.state == RUNNING), best)
        left: list[View] = []
        for view in [best, *different]:
            if view is not keeper:
                left += self._give_own_id(view, keeper)
        return [*left, keeper]  # one of the others may have the keeper's name

    def _give_own_id(self, view: View, keeper: View) -> list[View]:
        """Keep two jobs with one id (P7): give one a new id, as a claim of such a job does."""
        text = f"has the id of {keeper.shown}, which is another job"
        act = partial(self._repairs.give_own_id, view)
        if not self._findings.problem("duplicate", view.shown, text, Repair("given a new id", act)):
            return []
        new = self._judge.view(view.where.state, view.where.name)
        return [] if new is None else [new]


def _waits_to_run_again(view: View, other: View) -> bool:
    """Whether a file is a copy of an ended job that somebody put in pending/, which is allowed."""
    assert view.item is not None
    return (
        view.where.state == PENDING
        and other.where.state in (DONE, DLQ)
        and view.sig.inode != other.sig.inode
        and view.item.standing().ended_to in (DONE, DLQ)
    )


def _rank(view: View) -> tuple[int, bool, bool, int]:
    """Rank copies by the length of the history, then by being in the folder of the record, then by the right name."""
    assert view.item is not None
    leads_here = view.item.standing().ended_to == view.where.state
    return history.length(view.item.history), leads_here, view.stem == view.item.id, -ORDER.index(view.where.state)
