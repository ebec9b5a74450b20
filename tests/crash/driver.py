"""The operations of the crash and fault sweeps, and one run of one of them that is killed, or fails, at a given call.

    python -m tests.crash.driver                       the operations, and how many changes of the disk each makes
    python -m tests.crash.driver settle before 2 DIR   settle in the new folder DIR, killed before its second change

The tests fork instead: a new interpreter for each of a thousand points would take minutes. What runs is the same.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from queuectl.api import Spool
from queuectl.errors import QueuectlError
from queuectl.inbox import signing
from queuectl.inbox.file_poller import FilePoller
from queuectl.inbox.poller import Poller
from queuectl.inbox.polling import Polling
from queuectl.jobs import error_text, splitter
from queuectl.jobs.edit import Draft, Editor
from queuectl.jobs.verdict import Arriving, Busy, Claimed, Declined, Later
from queuectl.maintenance import debris, sweeper
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.maintenance.rescuer import Rescue
from queuectl.maintenance.retention import Retention
from queuectl.model import folding, lifecycle, names, record, times
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.model.settings import defaults
from queuectl.pool.counters import Counters
from queuectl.spool import batch, cancel_requests, counts
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import SPLIT_ENDING
from queuectl.spool.session import Session
from queuectl.system import disk, files
from queuectl.system.clock import Clock
from queuectl.worker.messages import Feed, Finished, Passed, Stop, Trouble, Vanished, pack_order, unpack
from queuectl.worker.worker import Worker
from tests.crash.child import Ran, in_child
from tests.crash.inject import Plan, aside, injected
from tests.helpers import Desk, FakeClock, Tree, make_spool, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
HOUR_S = 3600.0
SECRET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
# Inboxes lie on another file system than the spools, where there are two: see `inbox_of`.
_MEMORY = "/dev/shm"
INBOX = Inbox(path="", mode="trusted", owner="anna", done_receipts=True)
WHOLE = b"the whole file"
# Folders outside the inbox, in the settings of an operation and in the paths of `Operation.inbox`.
NEAR, FAR = "/near", "/far"

# It fails until its run number $PASS_AT, and lasts until the file $AFTER is in the spool. Its evidence: a line at each end
# of a run, a line where another run was under way, and what it prints.
COMMAND = """
W="$WITNESS.$QUEUECTL_JOB_ID"
mkdir "$W.live" 2>/dev/null || echo "O $QUEUECTL_ATTEMPT" >> "$W"
echo "S $QUEUECTL_ATTEMPT" >> "$W"
echo "printed by $QUEUECTL_ATTEMPT"
while [ "$AFTER" ] && [ ! -e "$QUEUECTL_SPOOL/$AFTER" ]; do sleep 0.01; done
sleep $RUN_S
echo "E $QUEUECTL_ATTEMPT" >> "$W"
rmdir "$W.live" 2>/dev/null
[ "$(grep -c ^E "$W")" -ge "$PASS_AT" ]
"""


# Reading the settings' rows again for each of some ten thousand processes takes a tenth of the time.
_DEFAULTS = defaults()


class Hands(Desk):
    """A producer's, a worker's and a supervisor's hands in one spool, as one process has them.

    Most operations use few of them, so each is made when it is first used, aside from what a plan counts.
    """

    def __init__(self, root: Path, worker: str, *, durability: str = "queue", clock: FakeClock | None = None) -> None:
        spool = SpoolDir.open(root / "spool")
        settings = _DEFAULTS._replace(durability=durability, keep_done=HOUR_S)
        super().__init__(spool, worker=worker, clock=clock or FakeClock(time.time()), settings=settings)
        self.witness = root / "witness"
        self.name = worker
        self.inbox = inbox_of(root)
        self.inbox_keys = root / "keys"
        self.root = root
        self.files: Inbox | None = None
        self.holder: Desk | None = None
        """Another worker with a job of its own, which dies with this one."""

    @functools.cached_property
    def rescue(self) -> Rescue:
        with aside():
            return Rescue(self.session, self.stripes)

    @functools.cached_property
    def rejected(self) -> RejectedFiles:
        with aside():
            return RejectedFiles(self.session)

    @functools.cached_property
    def retention(self) -> Retention:
        with aside():
            return Retention(self.session, self.stripes, notify=lambda _: None)

    @functools.cached_property
    def poller(self) -> Polling[Any]:
        inbox, keys = INBOX, self.inbox_keys
        with aside():
            if self.files is not None:
                self.files = placed(self.files, self.root)
                return FilePoller(self.session._replace(rng=random.Random()), self.files, str(self.inbox))
            if keys.exists():
                inbox = msgspec.structs.replace(INBOX, mode="signed", keys=str(keys), audience="here")
            # Real chance: a second receiver with the tokens of the first would take its files for its own.
            session = self.session._replace(rng=random.Random())
            return Poller(session, inbox, str(self.inbox))

    @functools.cached_property
    def api(self) -> Spool:
        with aside():
            made = Spool(self.spool.root)
        made.session = made.session._replace(settings=self.settings, clock=self.clock)
        made._producer = self.producer
        return made

    def open_stripes(self, operation: str) -> None:
        """Open all stripes before a batch: its ids tell the time, so how many it opens differs from run to run."""
        for stripe in range(names.STRIPE_COUNT if operation.startswith("batch") else 0):
            lock = self.stripes.at(stripe)
            assert lock.try_acquire()
            lock.release()

    def work(self, name: str) -> None:
        """A real worker claims, starts the command, settles and ends. Raises OSError where it reports trouble."""
        before = set(os.listdir("/dev/fd"))
        ours, theirs = Pipe()
        os.environ |= {"WITNESS": str(self.witness), "RUN_S": os.environ.get("RUN_S", "0.03")}
        session = Session(self.spool, self.settings, Clock(), random.Random())
        worker = Worker(theirs, session, worker=f"{self.name}-real", cwd=self.spool.root)
        troubles: list[str] = []

        def supervise() -> None:
            """Feed it the one name and stop it after; a worker that has died of its trouble is told nothing."""
            with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
                ours.send_bytes(pack_order(Feed([name])))
                while True:
                    for report in unpack(ours.recv_bytes()):
                        if isinstance(report, Trouble):
                            troubles.append(report.text)
                        elif isinstance(report, Vanished):
                            troubles.append("its file vanished")
                        if isinstance(report, Finished | Passed | Vanished):
                            ours.send_bytes(pack_order(Stop()))
                            return

        thread = threading.Thread(target=supervise)
        thread.start()
        try:
            worker.run()
        finally:
            theirs.close()
            thread.join()
            ours.close()
            signal.set_wakeup_fd(-1)
            for fd in set(os.listdir("/dev/fd")) - before:  # a worker's own process would end here
                with contextlib.suppress(OSError):
                    os.close(int(fd))
        if troubles:
            raise OSError(errno.EIO, troubles[0])

    def end(self) -> None:
        """What a killed process leaves: no lock, and every file."""
        for desk in [self, self.holder] if self.holder else [self]:
            desk.lease.abandon()
            desk.lease.close()
            desk.stripes.close()


def inbox_of(root: Path) -> Path:
    """The inbox of the spool in `root`: in memory where that is on a disk, and on a disk where it is in memory."""
    if not os.access(_MEMORY, os.W_OK):
        return root.parent / f"{root.name}-inbox"
    other = tempfile.gettempdir() if str(root).startswith(_MEMORY) else _MEMORY
    return Path(other, f"queuectl-inbox-{root.parent.name}-{root.name}")


def outside_of(root: Path) -> dict[str, Path]:
    """The folders outside the inbox of the spool in `root`: on the inbox's file system, and on the spool's."""
    inbox = inbox_of(root)
    return {NEAR: inbox.with_name(f"{inbox.name}-near"), FAR: root / "far"}


def placed(inbox: Inbox, root: Path) -> Inbox:
    """The settings of an inbox with the paths of this run."""
    ends = {key: str(outside_of(root).get(value := getattr(inbox, key), value)) for key in ("on_success", "on_failure")}
    return msgspec.structs.replace(inbox, **ends)


Endings = dict[str, set[str]]
"""By a job's tag or id: the histories that it may have in the end, such as `enqueued started succeeded @done`; "" for
a job that is not there."""


class Operation(NamedTuple):
    """One thing that a process does to a spool.

    `prepare` makes the spool (once), `begin` brings the process to where the sweep starts, `act` is swept. `ends` are
    the histories after an operation that has returned and a recovery; `cut` those that are right too where it was
    killed. `kept` are texts that rejected/ must hold then.
    """

    name: str
    prepare: Callable[[Hands], object]
    begin: Callable[[Hands], Any]
    act: Callable[[Hands, Any], object]
    ends: Endings
    cut: Endings = {}
    kept: tuple[bytes, ...] = ()
    logs: tuple[str, ...] = ()
    inbox: tuple[str, ...] | None = None
    """What the inbox holds in the end, None for an operation that has none."""
    again: bool = False
    """A person's command: who saw it killed gives it again, and then it must work."""
    refused: Endings = {}
    """The histories where another process was first and it was refused, if those are others."""
    files: Inbox | None = None
    """The inbox, if it is one of files; `inbox` has the paths in it then, and each PDF there holds WHOLE."""


def _nothing(_hands: Hands) -> None:
    return None


def _claim(name: str) -> Callable[[Hands, Any], object]:
    return lambda hands, _: hands.begin(name)


def _judge(hands: Hands, _: object) -> Declined | None:
    return hands.triage.judge("job.json")


def _started(hands: Hands) -> Claimed:
    return hands.start("job.json")


def _settle(outcome: Outcome) -> Callable[[Hands, Any], object]:
    return lambda hands, claimed: hands.settlements.settle(claimed, outcome)


def _count(hands: Hands, _: object) -> None:
    counters = Counters(hands.session)
    counters.count(DONE)
    counters.end(None)


def _enqueued(**keys: Any) -> Callable[[Hands], object]:
    return lambda hands: hands.enqueue(id="job", **keys)


def _abandoned(hands: Hands, **keys: Any) -> Path:
    hands.start(hands.enqueue(id="job", **keys))
    Path(hands.spool.output_path(hands.lease.name)).write_text("printed")
    hands.die()
    return Path(hands.spool.path(RUNNING, "job.json"))


def _abandoned_and_cancelled(hands: Hands) -> None:
    _abandoned(hands)
    cancel_requests.put(hands.spool, cancel_requests.Request("job", 1, "somebody", ""))


def _finished(hands: Hands, outcome: Outcome = OK, **keys: Any) -> Path:
    settled = hands.run(hands.enqueue(id="job", **keys), outcome)
    Path(hands.spool.log_path("job", 1)).write_text("printed")
    return Path(hands.spool.path(settled.to, settled.name))


def _released(hands: Hands) -> None:
    hands.run(hands.enqueue(id="job", max_retries=1), Outcome("released", None, "shutdown"))


def _outcome_on_record(hands: Hands) -> None:
    done = _finished(hands)
    done.rename(hands.spool.path(RUNNING, "job.json"))


def _torn_start(hands: Hands) -> None:
    path = _abandoned(hands)
    path.write_bytes(path.read_bytes()[:-40])


def _torn_waiting(hands: Hands) -> None:
    path = Path(hands.spool.path(PENDING, hands.enqueue(id="job")))
    path.write_bytes(path.read_bytes()[:-3])


def _edited(path: Path) -> None:
    """As an editor saves it: a byte order mark, other white space."""
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(json.loads(path.read_bytes())).encode())


def _started_and_edited(hands: Hands) -> Claimed:
    claimed = _started(hands)
    _edited(Path(hands.spool.path(RUNNING, "job.json")))
    return claimed


def _dragged(path: Path, hands: Hands) -> None:
    path.rename(hands.spool.path(PENDING, "job.json"))


def _two_of_a_key(hands: Hands) -> None:
    """Two jobs of which one runs at a time."""
    hands.enqueue(id="job", key="k")
    hands.enqueue(id="other", key="k")


def _other_is_in(hands: Hands) -> None:
    """Another worker runs the other job of the key."""
    hands.holder = Desk(hands.spool, worker="holder", clock=hands.clock, settings=hands.settings)
    hands.holder.start("other,key=k.json")


def _other_is_in_and_the_board_is_lost(hands: Hands) -> None:
    _other_is_in(hands)
    os.unlink(hands.spool.gate_path("default"))


def _in_and_the_board_is_lost(hands: Hands) -> Claimed:
    claimed = hands.start("job,key=k.json")
    os.unlink(hands.spool.gate_path("default"))
    return claimed


def _other_is_in_and_the_board_is_torn(hands: Hands) -> None:
    _other_is_in(hands)
    _tear_board(hands)


def _in_and_the_board_is_torn(hands: Hands) -> Claimed:
    claimed = hands.start("job,key=k.json")
    _tear_board(hands)
    return claimed


def _tear_board(hands: Hands) -> None:
    path = hands.spool.gate_path("default")
    os.truncate(path, os.path.getsize(path) - 100)


def _in_and_the_board_is_new(hands: Hands) -> Claimed:
    """The board was made again, and the job has another place in it."""
    claimed = _in_and_the_board_is_lost(hands)
    Desk(hands.spool, worker="holder", clock=hands.clock, settings=hands.settings).decline("other,key=k.json")
    return claimed


def _in_and_dead(hands: Hands) -> None:
    _two_of_a_key(hands)
    hands.start("job,key=k.json")
    hands.die()


def _rescue(hands: Hands, _: object) -> None:
    hands.rescue.rescue_all(set())


def _drop(name: str, content: object) -> Callable[[Hands], object]:
    return lambda hands: hands.drop(name, content)


def _quiet(hands: Hands) -> Arriving:
    return hands.decline("job.json")


def _reject_quiet(hands: Hands, declined: Arriving) -> object:
    assert declined.sig is not None
    return hands.triage.reject_quiet("job.json", declined)


def _corrected(hands: Hands) -> None:
    hands.drop("job.json", b'{"command": ')
    _reject_quiet(hands, _quiet(hands))
    write_drop(hands.spool, "job.json", {"command": "true"}, REJECTED)


BATCH: list[dict[str, Any]] = [
    {"command": "true", "id": "one"},
    {"command": "true", "tags": ["two"]},
    {"no": "job"},
    {"command": "x" * 70, "tags": ["three"]},
]
_SPLIT: Endings = {name: {"enqueued started succeeded @done"} for name in ("one", "two", "three")}


def _cut_batch(hands: Hands) -> None:
    """A split that was cut after it had made a job, which has run since."""
    made = hands.producer.prepare({**BATCH[1], "id": "job-cut-tokn-0002"}, by="batch", batch="job-cut-tokn#2")
    hands.producer.publish([made])
    hands.run(made.name, OK)
    Path(hands.spool.taken_dir, "job-cut-tokn.json").write_text(json.dumps(BATCH))


def _batch_of_another(hands: Hands) -> None:
    """As `_cut_batch`, with the note of whoever made that job and did not get to count it."""
    _cut_batch(hands)
    splitter.write_note(hands.session, "job-cut-tokn", batch.Note("job.json", "somebody"))


def _many_runs(hands: Hands) -> None:
    """A waiting job that has run many times."""
    name = hands.enqueue(id="job", max_retries=1000, backoff_base=0)
    for _ in range(30):
        name = hands.run(name, FAILED).name
        hands.clock.advance(1)


def _claim_and_fold(hands: Hands, name: str) -> Claimed | Declined:
    most, folding.FOLD_BYTES, folding.FOLD_KEEPS = (folding.FOLD_BYTES, folding.FOLD_KEEPS), 2000, 6
    try:
        claimed = hands.begin(name)
        assert isinstance(claimed, Declined) or b"folded" in claimed.data
        return claimed
    finally:
        folding.FOLD_BYTES, folding.FOLD_KEEPS = most


def _too_late(hands: Hands) -> None:
    """A waiting job that must not start any more."""
    hands.clock.advance(-2 * HOUR_S)
    hands.enqueue(id="job", expires_after=60)
    hands.clock.advance(2 * HOUR_S)


def _waiting(hands: Hands) -> str:
    (name,) = hands.spool.waiting_names()
    return name


def _in_small_steps(hands: Hands, _: object) -> None:
    """A split in steps of one line."""
    most, splitter.STEP_LINES = splitter.STEP_LINES, 1
    try:
        hands.claims.splits.split("job.jsonl")
        hands.finish_splits()
    finally:
        splitter.STEP_LINES = most


def _sent(name: str, content: object) -> Callable[[Hands], object]:
    """A file in the inbox. (An inbox is no part of what is copied: it is made for each run.)"""

    def put(hands: Hands) -> None:
        shutil.rmtree(hands.inbox, ignore_errors=True)
        hands.inbox.mkdir()
        (hands.inbox / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return put


def _made_a_key(hands: Hands) -> None:
    folder = hands.inbox_keys
    folder.mkdir()
    (folder / "anna.key").write_bytes(SECRET)
    (folder / "anna.key").chmod(0o600)


def _signed(hands: Hands) -> dict[str, str]:
    expires_at = times.to_text(hands.clock.now() + 10 * HOUR_S)
    return signing.sign({"command": "true", "id": "job", "for": "here", "expires_at": expires_at}, "anna", SECRET)


def _sent_signed(hands: Hands) -> None:
    _sent("x.json", _signed(hands))(hands)


def _sent_again(hands: Hands) -> None:
    """The same signed file once more, when its job has run."""
    _sent_signed(hands)
    again = (hands.inbox / "x.json").read_bytes()
    for name in hands.poller.poll():
        hands.run(name, OK)
    hands.api.purge("job")
    hands.poller.poll()
    (hands.inbox / "again.json").write_bytes(again)


def _refused(hands: Hands) -> None:
    _sent("job.json", {"command": 7})(hands)
    hands.poller.poll()


def _corrected_in_place(hands: Hands) -> None:
    _refused(hands)
    (hands.inbox / "job.json.rejected").write_text('{"command": "true"}')


def _half_sent(hands: Hands) -> None:
    _sent("job.json", b'{"command')(hands)
    hands.poller.poll()
    hands.clock.advance(HOUR_S)


def _taken(outcome: Outcome) -> Callable[[Hands], object]:
    def run(hands: Hands) -> None:
        _sent("job.json", {"command": "true", "max_retries": 0})(hands)
        for name in hands.poller.poll():
            hands.run(name, outcome)

    return run


def _receive(hands: Hands, _: object) -> None:
    hands.poller.poll()


def _old(hands: Hands) -> None:
    hands.clock.advance(-100 * HOUR_S)
    path = _finished(hands)
    os.utime(path, (hands.clock.now(), hands.clock.now()))


def _purge(hands: Hands, _: object) -> None:
    hands.api.purge("job")


def _dead(hands: Hands) -> None:
    """A dead job with all that it leaves: what it printed, and the text that says why it is dead."""
    path = _finished(hands, FAILED, max_retries=0)
    assert error_text.write(hands.session, path.name)


def _hold_and_release(hands: Hands, _: object) -> None:
    hands.api.hold("job")
    hands.api.release("job")


def _draft(hands: Hands) -> tuple[Editor, Draft]:
    editing = Editor(hands.api.session)
    return editing, editing.draft("job")


def _put_back(hands: Hands, begun: tuple[Editor, Draft]) -> None:
    """What makes a waiting job's file get another name too."""
    editing, draft = begun
    editing.put_back(draft, json.dumps({**json.loads(draft.text), "tags": ["edited"], "priority": 5}))


_ONCE = "enqueued started succeeded @done"
_TWICE = "enqueued started abandoned started succeeded @done"
_REAL = {"command": COMMAND, "backoff_base": 0, "cwd": "/"}


def _gates() -> list[Operation]:
    """The operations on jobs that pass a gate: the other job of the key must get in when all is over (P12)."""
    other: Endings = {"other": {_ONCE}}
    return [
        Operation(
            "gate: claim",
            _two_of_a_key,
            _nothing,
            _claim("job,key=k.json"),
            {"job": {_TWICE}, **other},
            {"job": {_ONCE}},
        ),
        Operation(
            "gate: drop",
            lambda hands: (hands.drop("job.json", {"command": "true", "key": "k"}), hands.enqueue(id="other", key="k")),
            _nothing,
            _claim("job.json"),
            {"job": {_TWICE}, **other},
            {"job": {_ONCE}},
        ),
        Operation(
            "gate: settle",
            _two_of_a_key,
            lambda hands: hands.start("job,key=k.json"),
            _settle(OK),
            {"job": {_ONCE}, **other},
            {"job": {_TWICE}},
        ),
        Operation(
            "gate: settle a retry",
            _two_of_a_key,
            lambda hands: hands.start("job,key=k.json"),
            _settle(FAILED),
            {"job": {"enqueued started failed started succeeded @done"}, **other},
            {"job": {_TWICE}},
        ),
        Operation(
            "gate: full",
            _two_of_a_key,
            _other_is_in,
            _claim("job,key=k.json"),
            {"job": {_ONCE}, "other": {_TWICE}},
        ),
        Operation(
            "gate: full, a drop",
            lambda hands: (hands.drop("job.json", {"command": "true", "key": "k"}), hands.enqueue(id="other", key="k")),
            _other_is_in,
            _claim("job.json"),
            {"job": {_ONCE}, "other": {_TWICE}},
        ),
        Operation(
            "gate: lost board",
            _two_of_a_key,
            _other_is_in_and_the_board_is_lost,
            _claim("job,key=k.json"),
            {"job": {_ONCE}, "other": {_TWICE}},
        ),
        Operation(
            "gate: torn board",
            _two_of_a_key,
            _other_is_in_and_the_board_is_torn,
            _claim("job,key=k.json"),
            {"job": {_ONCE}, "other": {_TWICE}},
        ),
        Operation(
            "gate: settle, torn board",
            _two_of_a_key,
            _in_and_the_board_is_torn,
            _settle(OK),
            {"job": {_ONCE}, **other},
            {"job": {_TWICE}},
        ),
        Operation(
            "gate: settle, lost board",
            _two_of_a_key,
            _in_and_the_board_is_lost,
            _settle(OK),
            {"job": {_ONCE}, **other},
            {"job": {_TWICE}},
        ),
        Operation(
            "gate: settle, new board",
            _two_of_a_key,
            _in_and_the_board_is_new,
            _settle(OK),
            {"job": {_ONCE}, **other},
            {"job": {_TWICE}},
        ),
        Operation("gate: rescue", _in_and_dead, _nothing, _rescue, {"job": {_TWICE}, **other}),
    ]


def _inbox_refuses(
    name: str, prepare: Callable[[Hands], object], begin: Callable[[Hands], Any], file: str
) -> Operation:
    """A look of an inbox that refuses one file."""
    return Operation(name, prepare, begin, _receive, {"job": {""}}, inbox=(f"{file}.rejected", f"{file}.rejected.txt"))


OPERATIONS = {
    made.name: made
    for made in (
        Operation(
            "enqueue",
            _nothing,
            _nothing,
            lambda hands, _: hands.api.enqueue("true", id="job"),
            {"job": {_ONCE}},
            {"job": {""}},
        ),
        Operation(
            "enqueue without an id",
            _nothing,
            _nothing,
            lambda hands, _: hands.api.enqueue("true", tags=["job"], priority=3),
            {"job": {_ONCE}},
            {"job": {""}},
        ),
        Operation(
            "enqueue many",
            _nothing,
            _nothing,
            lambda hands, _: hands.api.enqueue_many([{"command": "true", "tags": [tag]} for tag in "abc"]),
            {tag: {_ONCE} for tag in "abc"},
            {tag: {""} for tag in "abc"},
        ),
        Operation(
            "counts", lambda hands: (hands.enqueue(id="job"), _count(hands, None)), _nothing, _count, {"job": {_ONCE}}
        ),
        Operation("claim", _enqueued(), _nothing, _claim("job.json"), {"job": {_TWICE}}, {"job": {_ONCE}}),
        Operation(
            "claim: a long history",
            _many_runs,
            _waiting,
            _claim_and_fold,
            {"job": {"enqueued folded" + 3 * " started failed" + " started abandoned started succeeded @done"}},
            {
                "job": {
                    "enqueued" + 30 * " started failed" + " started succeeded @done",
                    "enqueued folded" + 3 * " started failed" + " started succeeded @done",
                }
            },
        ),
        Operation(
            "claim without an id",
            lambda hands: hands.enqueue(tags=["job"]),
            lambda hands: next(name for name in hands.spool.waiting_names()),
            lambda hands, name: hands.begin(name),
            {"job": {_TWICE}},
            {"job": {_ONCE}},
        ),
        Operation("settle: success", _enqueued(), _started, _settle(OK), {"job": {_ONCE}}, {"job": {_TWICE}}),
        Operation(
            "settle: retry",
            _enqueued(),
            _started,
            _settle(FAILED),
            {"job": {"enqueued started failed started succeeded @done"}},
            {"job": {_TWICE}},
        ),
        Operation(
            "settle: failure after a release",
            _released,
            _started,
            _settle(FAILED),
            {"job": {"enqueued started released started failed started succeeded @done"}},
            {"job": {"enqueued started released started abandoned started succeeded @done"}},
        ),
        Operation(
            "settle: last failure",
            _enqueued(max_retries=0),
            _started,
            _settle(FAILED),
            {"job": {"enqueued started failed @dlq"}},
            {"job": {"enqueued started abandoned @dlq"}},
        ),
        Operation(
            "settle: release",
            _enqueued(),
            _started,
            _settle(Outcome("released", None, "shutdown")),
            {"job": {"enqueued started released started succeeded @done"}},
            {"job": {_TWICE}},
        ),
        Operation(
            "settle: edited meanwhile",
            _enqueued(),
            _started_and_edited,
            _settle(OK),
            {"job": {_ONCE}},
            {"job": {_TWICE}},
            kept=(b'\xef\xbb\xbf{"format": 1',),
        ),
        Operation(
            "work: success",
            _enqueued(**_REAL, env={"PASS_AT": "1"}),
            _nothing,
            lambda hands, _: hands.work("job.json"),
            {"job": {_ONCE}},
            {"job": {_TWICE}},
            logs=("job",),
        ),
        Operation(
            "work: a drop",
            _drop("job.json", {**_REAL, "env": {"PASS_AT": "1"}}),
            _nothing,
            lambda hands, _: hands.work("job.json"),
            {"job": {_ONCE}},
            {"job": {_ONCE, _TWICE}},
            logs=("job",),
        ),
        Operation(
            "work: retry",
            _enqueued(**_REAL, env={"PASS_AT": "2"}),
            _nothing,
            lambda hands, _: hands.work("job.json"),
            {"job": {"enqueued started failed started succeeded @done"}},
            {"job": {_TWICE, "enqueued started abandoned started failed started succeeded @done"}},
            logs=("job",),
        ),
        Operation(
            "work: last failure",
            _enqueued(**_REAL, env={"PASS_AT": "9"}, max_retries=0),
            _nothing,
            lambda hands, _: hands.work("job.json"),
            {"job": {"enqueued started failed @dlq"}},
            {"job": {"enqueued started abandoned @dlq"}},
        ),
        Operation(
            "drop",
            _drop("job.json", {"command": "true"}),
            _nothing,
            _claim("job.json"),
            {"job": {_TWICE}},
            {"job": {_ONCE}},
        ),
        Operation(
            "expiry: claim",
            _too_late,
            _waiting,
            lambda hands, name: hands.begin(name),
            {"job": {"enqueued expired @dlq"}},
        ),
        Operation(
            "expiry: a drop",
            _drop("job.json", {"command": "true", "expires_at": times.to_text(HOUR_S)}),
            _nothing,
            _claim("job.json"),
            {"job": {"enqueued expired @dlq"}},
        ),
        Operation(
            "expiry: judge a drop",
            _drop("job.json", {"command": "true", "expires_at": times.to_text(HOUR_S)}),
            _nothing,
            _judge,
            {"job": {"enqueued expired @dlq"}},
        ),
        Operation(
            "drop with another id",
            _drop("job.json", {"command": "true", "id": "other"}),
            _nothing,
            _claim("job.json"),
            {"other": {_TWICE}},
            {"other": {_ONCE}},
        ),
        Operation(
            "drop of a record that was edited",
            lambda hands: _edited(Path(hands.spool.path(PENDING, hands.enqueue(id="job")))),
            _nothing,
            _claim("job.json"),
            {"job": {_TWICE}},
            {"job": {_ONCE}},
        ),
        *_gates(),
        Operation("judge", _drop("job.json", {"command": "true", "priority": 3}), _nothing, _judge, {"job": {_ONCE}}),
        Operation(
            "judge: delay", _drop("job.json", {"command": "true", "delay": 5}), _nothing, _judge, {"job": {_ONCE}}
        ),
        Operation("judge: no job", _drop("job.json", {"no": "job"}), _nothing, _judge, {}, kept=(b'"no"',)),
        Operation(
            "judge: dragged out of dlq/",
            lambda hands: _dragged(_finished(hands, FAILED, max_retries=0), hands),
            _nothing,
            _judge,
            {"job": {"enqueued started failed requeued started succeeded @done"}},
        ),
        Operation("batch: array", _drop("job.json", BATCH), _nothing, _claim("job.json"), _SPLIT, kept=(b'"no"',)),
        Operation(
            "batch: lines",
            _drop("job.jsonl", "\n".join(json.dumps(item) for item in BATCH)),
            _nothing,
            lambda hands, _: hands.claims.splits.split("job.jsonl"),
            _SPLIT,
            kept=(b'"no"',),
        ),
        Operation(
            "batch: steps",
            _drop("job.jsonl", "\n".join(json.dumps(item) for item in BATCH)),
            _nothing,
            _in_small_steps,
            _SPLIT,
            kept=(b'"no"',),
        ),
        Operation(
            "batch: take over",
            _batch_of_another,
            _nothing,
            lambda hands, _: hands.finish_splits(),
            _SPLIT,
            kept=(b'"no"',),
        ),
        Operation(
            "batch: finish",
            _cut_batch,
            _nothing,
            lambda hands, _: hands.finish_splits(),
            _SPLIT,
            kept=(b'"no"',),
        ),
        Operation(
            "requeue",
            lambda hands: _finished(hands, FAILED, max_retries=0),
            _nothing,
            lambda hands, _: hands.api.requeue("job"),
            {"job": {"enqueued started failed requeued started succeeded @done"}},
            {"job": {"enqueued started failed requeued requeued started succeeded @done"}},
            again=True,
        ),
        Operation(
            "cancel: waiting",
            _enqueued(),
            _nothing,
            lambda hands, _: hands.api.cancel("job"),
            {"job": {"enqueued cancelled @dlq"}},
            again=True,
        ),
        Operation(
            "cancel: drop",
            _drop("job.json", {"command": "true"}),
            _nothing,
            lambda hands, _: hands.api.cancel("job"),
            {"job": {"enqueued cancelled @dlq"}},
            again=True,
        ),
        Operation(
            "cancel: a run whose worker is gone",
            _abandoned_and_cancelled,
            _nothing,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {"enqueued started cancelled @dlq"}},
            logs=("job",),
        ),
        Operation("purge", _finished, _nothing, _purge, {"job": {""}}, again=True),
        Operation("purge: dead", _dead, _nothing, _purge, {"job": {""}}, again=True),
        Operation(
            "requeue: done",
            _finished,
            _nothing,
            lambda hands, _: hands.api.requeue("job"),
            {"job": {"enqueued started succeeded requeued started succeeded @done"}},
            {"job": {"enqueued started succeeded requeued requeued started succeeded @done"}},
            again=True,
        ),
        Operation("hold and release", _enqueued(priority=3), _nothing, _hold_and_release, {"job": {_ONCE}}, again=True),
        Operation(
            "edit: waiting",
            _enqueued(),
            _draft,
            _put_back,
            {"edited": {_ONCE}},
            again=True,
            refused={"job": {_ONCE}},
        ),
        Operation("edit: dead", _dead, _draft, _put_back, {"edited": {"enqueued started failed @dlq"}}, again=True),
        Operation(
            "retention", _old, _nothing, lambda hands, _: hands.retention.step(), {"job": {""}}, {"job": {_ONCE}}
        ),
        Operation(
            "rescue: abandoned",
            _abandoned,
            _nothing,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {_TWICE}},
            logs=("job",),
        ),
        Operation(
            "rescue: abandoned for the last time",
            lambda hands: _abandoned(hands, max_retries=0),
            _nothing,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {"enqueued started abandoned @dlq"}},
            logs=("job",),
        ),
        Operation(
            "rescue: outcome on record",
            _outcome_on_record,
            _nothing,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {_ONCE}},
        ),
        Operation(
            "rescue: torn", _torn_start, _nothing, lambda hands, _: hands.rescue.rescue_all(set()), {"job": {_ONCE}}
        ),
        Operation(
            "rescue: not started",
            lambda hands: Path(hands.spool.path(PENDING, hands.enqueue(id="job"))).rename(
                hands.spool.path(RUNNING, "job.json")
            ),
            _nothing,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {_ONCE}},
        ),
        Operation(
            "reject: broken",
            _drop("job.json", b'{"command'),
            _quiet,
            _reject_quiet,
            {"job": {""}},
            kept=(b'{"command',),
        ),
        Operation(
            "reject: no job",
            _drop("job.json", {"command": 7}),
            _nothing,
            _claim("job.json"),
            {"job": {""}},
            kept=(b'{"command": 7}',),
        ),
        Operation("heal", _corrected, _nothing, lambda hands, _: hands.rejected.readmit(), {"job": {_ONCE}}),
        Operation("mend", _torn_waiting, _quiet, _reject_quiet, {"job": {_ONCE}}),
        Operation(
            "inbox: take in",
            _nothing,
            _sent("job.json", {"command": "true"}),
            _receive,
            {"job": {_ONCE}},
            inbox=("job.json.done.txt",),
        ),
        Operation(
            "inbox: take in a signed job",
            _made_a_key,
            _sent_signed,
            _receive,
            {"job": {_ONCE}},
            inbox=("x.json.done.txt",),
        ),
        _inbox_refuses("inbox: refuse a signed job that was used", _made_a_key, _sent_again, "again.json"),
        _inbox_refuses("inbox: refuse", _nothing, _sent("job.json", {"command": 7}), "job.json"),
        _inbox_refuses("inbox: refuse what is quiet", _nothing, _half_sent, "job.json"),
        Operation(
            "inbox: heal",
            _nothing,
            _corrected_in_place,
            _receive,
            {"job": {_ONCE}},
            inbox=("job.json.done.txt",),
        ),
        Operation(
            "inbox: receipt of a dead job",
            _nothing,
            _taken(FAILED),
            _receive,
            {"job": {"enqueued started failed @dlq"}},
            inbox=("job.json.failed.txt",),
        ),
        Operation(
            "inbox: receipt of a finished job",
            _nothing,
            _taken(OK),
            _receive,
            {"job": {_ONCE}},
            inbox=("job.json.done.txt",),
        ),
        Operation(
            "drag: done",
            lambda hands: _dragged(_finished(hands), hands),
            _nothing,
            _claim("job.json"),
            {"job": {"enqueued started succeeded requeued started abandoned started succeeded @done"}},
            # A kill between the move to running/ and the start: the file is back where it was dragged from.
            {"job": {"enqueued started succeeded requeued started succeeded @done", _ONCE}},
        ),
        Operation(
            "drag: abandoned",
            lambda hands: _dragged(_abandoned(hands), hands),
            _nothing,
            _claim("job.json"),
            {"job": {_TWICE}},
        ),
    )
}


# ------------------------------------------------------------------------------------------------- one run of one


class Template:
    """A prepared spool, and copies of it for each point of a sweep."""

    def __init__(self, operation: Operation, folder: Path) -> None:
        self.operation = operation
        self._folder = folder
        self._copies = 0
        root = folder / "template"
        make_spool(root / "spool")
        hands = Hands(root, "before")
        hands.files = operation.files
        self.bystanders = self._make_bystanders(hands)
        # The ids of a batch's jobs tell the time, so that which of them share a stripe differs from run to run; with
        # all lock files there, each run makes the same calls.
        for stripe in range(names.STRIPE_COUNT if operation.name.startswith("batch") else 0):
            os.close(disk.open_lock_file(hands.spool.stripe_path(stripe)))
        operation.prepare(hands)
        hands.close()
        self._tree = Tree(root)

    @staticmethod
    def _make_bystanders(hands: Hands) -> dict[str, bytes]:
        """Files that no operation may touch."""
        hands.run(hands.enqueue(id="kept-done"), OK)
        hands.run(hands.enqueue(id="kept-dead", max_retries=0), FAILED)
        for folder, name in ((PENDING, "notes.txt"), (REJECTED, "old.json"), (REJECTED, "old.json.reason.txt")):
            hands.drop(name, b"somebody's", folder)
        paths = [
            os.path.join(state, name)
            for state in (PENDING, DONE, DLQ, REJECTED)
            for name in os.listdir(hands.spool.folder(state))
        ]
        return {path: Path(hands.spool.root, path).read_bytes() for path in paths}

    def copy(self) -> Path:
        """A fresh copy; the one before is deleted."""
        shutil.rmtree(self._folder / f"copy{self._copies}", ignore_errors=True)
        self._copies += 1
        made = self._folder / f"copy{self._copies}"
        self._tree.write(made, with_times=True)
        return made


def run_here(operation: Operation, root: Path, plan: Plan, *, durability: str = "queue") -> Hands:
    """Do the operation in this process, with the plan's hand on its calls; what is left are its hands."""
    hands = Hands(root, "swept", durability=durability)
    hands.files = operation.files
    begun = operation.begin(hands)
    with injected(plan):
        operation.act(hands, begun)
    return hands


def run_in_child(operation: Operation, root: Path, at: int = 0, how: str = "") -> Ran:
    """Do the operation in a forked child that kills itself at the planned call: see `in_child`."""
    return in_child(lambda plan: run_here(operation, root, plan), root / "told", at, how)


# ------------------------------------------------------------------------------------------------ recovery, judging


def recover(
    root: Path,
    operation: Operation,
    *,
    cut: bool,
    seconds: float = 15.0,
    also: Callable[[Hands], int] = lambda _hands: 0,
) -> None:
    """What a new pool does, until nothing is left to do: rescue, finish, claim, run, settle. Time passes as needed.

    `also` is a further duty of the pool; it returns how much it has done.
    """
    hands = Hands(root, "again")
    hands.files = operation.files
    deadline = time.monotonic() + seconds
    quiet = 0
    try:
        if cut and operation.again:
            with contextlib.suppress(QueuectlError):  # it had got so far that there is nothing to do
                operation.act(hands, operation.begin(hands))
        while time.monotonic() < deadline:
            worked = len(hands.rescue.rescue_all(set())) + hands.finish_splits() + len(hands.rejected.readmit())
            worked += also(hands)
            if operation.inbox is not None:
                worked += len(hands.poller.poll())
            worked += sum(_work_off(hands, name) for name in sorted(hands.spool.waiting_names()))
            if hands.spool.job_names(RUNNING):
                time.sleep(0.002)  # a command of a killed worker holds the lease
            elif not hands.spool.waiting_names():
                if operation.inbox is not None and (quiet := quiet + 1) < 3:
                    hands.clock.advance(HOUR_S)  # what is not whole is refused, and receipts are written
                    continue
                sweeper.OrphanTexts(hands.session).sweep()
                return
            elif not worked:
                hands.clock.advance(HOUR_S)
    finally:
        hands.close()


def _work_off(hands: Hands, name: str) -> bool:
    claimed = hands.claim(name)
    if isinstance(claimed, Claimed):
        hands.settlements.settle(claimed, _run(hands, claimed) if claimed.record.command == COMMAND else OK)
        return True
    if isinstance(claimed, Arriving) and claimed.sig is not None:
        if name.endswith(".jsonl") and not claimed.why:
            hands.claims.splits.split(name)
        else:
            hands.triage.reject_quiet(name, claimed)
        return True
    return not isinstance(claimed, Busy) and not (isinstance(claimed, Later) and claimed.name == name)


def _run(hands: Hands, claimed: Claimed) -> Outcome:
    env = {**os.environ, **claimed.record.env, "WITNESS": str(hands.witness), "RUN_S": "0", "AFTER": ""}
    env |= {"QUEUECTL_JOB_ID": claimed.job_id, "QUEUECTL_ATTEMPT": str(claimed.attempt)}
    with open(hands.spool.log_path(claimed.job_id, claimed.attempt), "w") as log:
        done = subprocess.run(["sh", "-c", COMMAND], env=env, stdout=log, check=False, pass_fds=(hands.lease.fd,))
    return OK if done.returncode == 0 else FAILED


def judge(
    root: Path, template: Template, allowed: Endings, shorten: Callable[[str], str] = lambda ending: ending
) -> list[str]:
    """What is wrong with a spool after the recovery, each as a sentence; nothing where every promise was kept."""
    spool = SpoolDir(root / "spool")
    operation = template.operation
    wrong: list[str] = []
    found: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for state in (PENDING, RUNNING, DONE, DLQ):
        for name in spool.job_names(state):
            path = os.path.join(state, name)
            if path in template.bystanders:
                continue
            data = files.read(spool.path(state, name), 1 << 26).data
            if not record.is_record(data):
                wrong.append(f"{path} is torn: {data[-80:]!r}")
                continue
            item = record.decode(data)
            kinds = [event.event for event in item.history if event.event != "warning"]
            found.setdefault((item.tags or [item.id])[0], []).append(f"{' '.join(kinds)} @{state}")
            places.setdefault(item.id.lower(), []).append(path)
            attempts = [event.attempt for event in item.history if event.event == "started"]
            before = sum(event.counts["started"] for event in item.history if event.event == lifecycle.FOLDED)
            if attempts != list(range(before + 1, before + len(attempts) + 1)):
                wrong.append(f"{path} has the attempts {attempts} (P4)")
            if state != PENDING and name != f"{item.id}.json":
                wrong.append(f"{path} holds the job {item.id}")
    wrong += [f"{job_id} is in {' and '.join(paths)} (P2)" for job_id, paths in places.items() if len(paths) > 1]
    for key in sorted({*found, *allowed}):
        histories = found.get(key, [""])
        if len(histories) > 1:
            wrong.append(f"{key} is there {len(histories)} times: {histories}")
        elif shorten(histories[0]) not in allowed.get(key, {""}):
            wrong.append(
                f"{key} ended as {histories[0]!r}, not {' or '.join(map(repr, sorted(allowed.get(key, {''}))))}"
            )
    for left in (*spool.waiting_names(), *spool.job_names(RUNNING)):
        wrong.append(f"{left} is stuck (P5)")
    for path, data in template.bystanders.items():
        now = Path(spool.root, path)
        if not now.exists() or now.read_bytes() != data:
            wrong.append(f"{path} was touched (P7, P11)")
    wrong += [f"{name} in taken/ is not finished" for name in os.listdir(spool.taken_dir) if not name.endswith(".done")]
    plans = {name for name in os.listdir(spool.split_dir) if name.endswith(".plan")}
    wrong += [f"{name} is left of a flow" for name in plans - set(map(os.path.basename, debris.split_notes(spool)))]
    tokens = {batch.token_of(name) for name in os.listdir(spool.taken_dir)}
    wrong += [
        f"the text {name} tells of no file of many jobs"
        for name in os.listdir(spool.folder(REJECTED))
        if name.endswith(SPLIT_ENDING) and name.removesuffix(SPLIT_ENDING) not in tokens
    ]
    if os.path.exists(spool.counts_path) and counts.read(spool) is None:
        wrong.append("the counts are torn")
    wrong += [f"{name} tells of no job" for name in error_text.orphans(spool)]
    wrong += _judge_rejected(spool, operation)
    wrong += _judge_inbox(root, spool, operation)
    wrong += _judge_runs(root, spool)
    ids = {os.path.basename(path).removesuffix(".json") for paths in places.values() for path in paths}
    logs = os.listdir(spool.folder("logs"))
    wrong += [f"{name} is a log of no job" for name in logs if name.rsplit(".", 2)[0] not in ids]
    wrong += [f"no log of {key}" for key in operation.logs if not list(Path(spool.folder("logs")).glob(f"{key}.*.log"))]
    return wrong


def _judge_rejected(spool: SpoolDir, operation: Operation) -> list[str]:
    names = [name for name in spool.job_names(REJECTED) if name != "old.json"]
    wrong = [f"{name} is rejected without a reason" for name in names if not os.path.exists(spool.reason_path(name))]
    texts = [Path(spool.path(REJECTED, name)).read_bytes() for name in names]
    wrong += [f"{text!r} was rejected" for text in texts if not any(part in text for part in operation.kept)]
    return wrong


def _judge_inbox(root: Path, spool: SpoolDir, operation: Operation) -> list[str]:
    """Nothing but what belongs there is in the inbox, and nothing is under way."""
    if operation.inbox is None:
        return []
    top = inbox_of(root)
    paths = {str(path.relative_to(top)): path for path in top.rglob("*") if not path.is_dir()}
    for name, folder in outside_of(root).items():
        paths |= {f"{name}/{path.relative_to(folder)}": path for path in folder.rglob("*") if not path.is_dir()}
    found = sorted(paths)
    wrong = [] if found == sorted(operation.inbox) else [f"the inbox holds {found}"]
    wrong += [f"{name} is not whole" for name in found if name.endswith(".pdf") and paths[name].read_bytes() != WHOLE]
    for folder in (spool.handover_dir, spool.owed_dir):
        wrong += [f"{path} is left" for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".spent"]
    for folder in (top, *outside_of(root).values()):
        shutil.rmtree(folder, ignore_errors=True)
    return wrong


def _judge_runs(root: Path, spool: SpoolDir) -> list[str]:
    """What the command itself saw: no other run of its job (P3), and its own start on record before it (P4)."""
    wrong = []
    for witness in (each for each in root.glob("witness.*") if each.is_file()):
        job_id = witness.suffix[1:]
        lines = [line.split() for line in witness.read_text().splitlines()]
        started = [
            str(event.attempt)
            for state in (DONE, DLQ)
            for name in spool.job_names(state)
            if name == f"{job_id}.json"
            for event in spool.read(state, name).record.history
            if event.event == "started"
        ]
        wrong += [f"{job_id}: {attempt} ran while another did (P3): {lines}" for kind, attempt in lines if kind == "O"]
        ran = [attempt for kind, attempt in lines if kind == "S"]
        wrong += [f"{job_id}: {attempt} ran and is not on record (P4)" for attempt in ran if attempt not in started]
        wrong += [f"{job_id}: {attempt} ran twice (P4)" for attempt in set(ran) if ran.count(attempt) > 1]
    return wrong


def allowed_endings(operation: Operation, *, cut: bool) -> Endings:
    """The histories that are right after an operation that returned, or after one that was cut short."""
    if not cut:
        return operation.ends
    return {key: histories | operation.cut.get(key, set()) for key, histories in operation.ends.items()}


def main(words: list[str]) -> int:
    """See the top of this file."""
    if not words:
        for operation in OPERATIONS.values():
            with tempfile.TemporaryDirectory() as folder:
                ran = run_in_child(operation, Template(operation, Path(folder)).copy())
                print(f"{len(ran.calls):4}  {operation.name}: {' '.join(call.kind for call in ran.calls)}")
        return 0
    name, how, number, folder = words
    template = Template(OPERATIONS[name], Path(folder))
    root = template.copy()
    ran = run_in_child(template.operation, root, int(number), how)
    print("killed" if ran.killed else "not killed: it makes fewer changes")
    recover(root, template.operation, cut=ran.killed)
    wrong = judge(root, template, allowed_endings(template.operation, cut=ran.killed))
    print("\n".join(wrong) or f"every promise was kept in {root}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
