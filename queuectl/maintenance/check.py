"""Check whether a spool is as FORMAT.md says, and repair what can be repaired without losing a byte.

`run` checks everything, on an idle spool or beside workers; `quick` checks only what costs almost nothing, for a pool
that starts. Both return `Finding`s. `faults` defines the faults of jobs, `leftovers` and its neighbours all others, and
`repairs` repairs them. After a repair a second check finds nothing, unless a person is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import msgspec

from queuectl.errors import InvalidSettingsError, NotASpoolError, SpoolUnavailableError, UntrustedSpoolError
from queuectl.maintenance import ownership
from queuectl.maintenance.debris import OUTPUT, FileAge, dead_outputs
from queuectl.maintenance.findings import INFO, Finding, Findings, Inspection, Repair, merged, reason
from queuectl.model.settings import SETTINGS_NAME, Settings, defaults
from queuectl.spool import blame, clock_note, pools, schedule_files, settings_file, trust
from queuectl.spool.folder import SpoolDir, is_spool
from queuectl.spool.layout import FOLDERS
from queuectl.spool.session import Session
from queuectl.system import rights
from queuectl.system.clock import Clock

# A repair may reveal another fault: a torn record, once repaired, may turn out to be a copy of another.
_PASSES_AT_MOST = 4


class Checked(msgspec.Struct, frozen=True):
    """The result of a check. `counts` are the job files that were checked, by state."""

    findings: list[Finding]
    counts: dict[str, int]
    skipped: list[str]
    """Ids that were busy the whole time, so the check says nothing about them."""


def run(
    spool: SpoolDir,
    *,
    repair: bool,
    names_only: bool,
    clock: Clock,
    on_looked: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Check the whole spool; with `repair`, repair what a program can repair.

    With `names_only`, open only jobs in running/ and jobs whose names collide. `on_looked` is called now and then with
    the number of files checked so far.

    Raises:
        NotASpoolError: the folder is not a spool.
        SpoolUnavailableError, OSError: the spool cannot be read, or a lock cannot be taken.
    """
    from queuectl.maintenance.examination import Examination  # here, because a pool needs only `quick`
    from queuectl.maintenance.flow_leftovers import FlowLeftovers
    from queuectl.maintenance.inbox_leftovers import InboxTraces
    from queuectl.maintenance.leftovers import Leftovers

    if not is_spool(spool.root):
        cause = (
            "it has neither queuectl.toml nor the folders of a queue" if os.path.isdir(spool.root) else "no such folder"
        )
        raise NotASpoolError(spool.root, cause=cause)
    findings = Findings(repair=repair)
    _check_folders(spool, findings)
    settings = _check_settings(spool, findings)
    _check_trust(spool, findings)
    _check_stripes(spool, findings)
    if not names_only:
        _check_owners(spool, findings)
    _check_clock(spool, findings, clock)
    pool_lives = bool(pools.live(spool))
    inspection = Inspection(Session(spool, settings, clock, spool.rng), findings, FileAge(spool))
    around = Leftovers(inspection)
    outputs = [] if pool_lives else dead_outputs(spool)
    around.batches(pool_lives=pool_lives)
    for number in range(_PASSES_AT_MOST):
        before = len(findings.found)
        looked = Examination(
            inspection,
            names_only=names_only,
            pool_lives=pool_lives,
            outputs=outputs,
        )
        looked.run(on_looked)
        new = findings.found[before:]
        if number:
            told = {(item.code, item.path) for item in findings.found[:before]}
            findings.found[before:] = [item for item in new if item.repaired or (item.code, item.path) not in told]
        if not any(item.repaired for item in new):
            break
    around.outputs(outputs, looked.runs)
    around.unfinished()
    around.old_leases(pool_lives=pool_lives)
    around.old_desks(pool_lives=pool_lives)
    around.old_pools(all_looked_at=not names_only and not looked.skipped)
    around.reasons()
    around.error_texts()
    around.foreign()
    around.counts()
    around.logs(looked.knows)
    flows = FlowLeftovers(inspection)
    flows.gates()
    flows.victims(reads=not names_only and not spool.lacks_folders)
    flows.key_notes()
    if schedule_files.names(spool):
        from queuectl.maintenance.schedule_leftovers import ScheduleLeftovers

        ScheduleLeftovers(inspection).examine(pool_lives=pool_lives)
    if spool.has_inbox_traces():
        known = None if any(item.code == "settings" for item in findings.found) else settings
        traces = InboxTraces(inspection, known, knows=looked.knows)
        traces.examine(pool_lives=pool_lives)
    if not names_only:
        around.open_files()
    return Checked(findings.found, looked.counts, looked.skipped)


def quick(session: Session) -> list[Finding]:
    """Return what a pool reports when it starts: one finding per kind. Costs one look at each name in tmp/.

    Unlink second names that dead producers left, and only report everything else. Ignore jobs of dead workers, because
    the pool itself rescues them.

    Raises:
        OSError: a problem of the machine.
    """
    spool, findings = session.spool, Findings(repair=True)
    _check_file_systems(spool, findings)
    _check_stripes(spool, findings, gentle=True)
    if any(not name.endswith(OUTPUT) for name in spool.names(spool.tmp_dir)):
        from queuectl.maintenance.leftovers import Leftovers

        Leftovers(Inspection(session, findings, FileAge(spool)), gentle=True).unfinished()
    return merged(findings.found)


def _check_folders(spool: SpoolDir, findings: Findings) -> None:
    """Report missing folders, which count as empty; a repair creates them, as any write does."""
    missing = [folder for folder in FOLDERS if not os.path.lexists(os.path.join(spool.root, folder))]
    if findings.repair:
        spool.make_folders()
    spool.lacks_folders = not findings.repair and bool(missing)
    for folder in missing:
        findings.found.append(
            Finding(INFO, "folder", folder.replace(os.sep, "/"), "is missing", "created", findings.repair, False)
        )
    _check_file_systems(spool, findings)


def _check_file_systems(spool: SpoolDir, findings: Findings) -> None:
    home = os.stat(spool.root).st_dev
    for folder in FOLDERS:
        path = os.path.join(spool.root, folder)
        if spool.lacks_folders and not os.path.isdir(path):
            continue
        if os.stat(path).st_dev != home:
            text = "is on a different file system than the spool, but jobs move by rename: use one file system for all"
            findings.problem("file-system", folder.replace(os.sep, "/"), text)
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            findings.problem("access", folder.replace(os.sep, "/"), "is not readable and writable for this user")


def _check_settings(spool: SpoolDir, findings: Findings) -> Settings:
    try:
        return settings_file.load(spool)
    except (InvalidSettingsError, SpoolUnavailableError) as error:
        text = " ".join(str(part) for part in (error, error.cause) if str(part))
        findings.problem("settings", SETTINGS_NAME, f"is not valid, so no worker starts: {text}")
        return defaults()


def _check_trust(spool: SpoolDir, findings: Findings) -> None:
    try:
        trust.check(spool)
    except UntrustedSpoolError as error:
        path = os.path.relpath(error.path, spool.root).replace(os.sep, "/")
        findings.problem("trust", path, f"{error.cause} (P10): {error.hint}")


def _check_clock(spool: SpoolDir, findings: Findings, clock: Clock) -> None:
    """Report a clock that jumped. A repair accepts the clock, because a person runs it and can compare a watch."""
    if text := clock_note.waiting(spool, now_at=clock.now()):
        path = os.path.relpath(spool.clock_path, spool.root).replace(os.sep, "/")
        act = partial(clock_note.accept, spool, now_at=clock.now())
        findings.info("clock", path, f"retention {text}", Repair("the clock is accepted", act))


def _check_stripes(spool: SpoolDir, findings: Findings, *, gentle: bool = False) -> None:
    """Report which of the 64 lock files cannot be locked. Missing ones are created when they are first used.

    With `gentle` nothing is repaired.
    """
    for number, error in ownership.closed_stripes(spool, lock=True):
        path = spool.stripe_path(number)
        text = f"cannot be locked, so no job of its ids can run: {reason(error)}"
        if hint := blame.cure(error, path):
            text += f"; to fix this: {hint}"
        act = None if gentle else ownership.act_open(spool, number)
        findings.problem("stripe", _shown(spool, path), text, Repair("given to the spool's owner" if act else "", act))


def _check_owners(spool: SpoolDir, findings: Findings) -> None:
    """Report records that root created and the spool's owner cannot use."""
    for state, name in ownership.strange_records(spool):
        path = spool.path(state, name)
        text = f"belongs to user {trust.user_name(rights.owner_of(path) or 0)}, and the spool's owner cannot use it"
        act = ownership.act_give_back(spool, state, name)
        if act is None:
            text += f"; to fix this, as root: queuectl --spool {trust.quoted(spool.root)} check --repair"
        findings.problem("owner", f"{state}/{name}", text, Repair("given to the spool's owner" if act else "", act))


def _shown(spool: SpoolDir, path: str) -> str:
    return os.path.relpath(path, spool.root).replace(os.sep, "/")
