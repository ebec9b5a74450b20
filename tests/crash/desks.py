"""The operations of the sweeps on what a run is given and gives back: results, standard input, snoozes (P4, P13).

The command of these jobs is a real one. It writes a result, and as evidence a line once the result is whole. Whatever
is killed after that, the result is in logs/, under the attempt that wrote it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuectl.maintenance.sweeper import Sweeper
from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, RUNNING, Outcome
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import OK, Endings, Hands, Operation

# It fails, or asks to run again, until its run number $PASS_AT.
GIVE = """
W="${WITNESS%/*}/gave.$QUEUECTL_JOB_ID"
{ printf 'given by %s' "$QUEUECTL_ATTEMPT"; [ ! "$READS" ] || cat - "$QUEUECTL_PARENT_RESULTS"; } > "$QUEUECTL_RESULT"
[ ! "$AGAIN" ] || echo "$AGAIN" > "$QUEUECTL_AGAIN"
echo 50 half > "$QUEUECTL_PROGRESS"
echo "$QUEUECTL_ATTEMPT" >> "$W"
[ "$(wc -l < "$W")" -ge "$PASS_AT" ] || exit "$CODE"
"""
_ONCE = "enqueued started succeeded @done"
_TWICE = "enqueued started abandoned started succeeded @done"
SNOOZE = Outcome("snoozed", 75, "", 0.01)


def _job(pass_at: int = 1, code: int = 1, *, again: str = "", reads: str = "", **keys: Any) -> Callable[[Hands], None]:
    def prepare(hands: Hands) -> None:
        env = {"PASS_AT": str(pass_at), "CODE": str(code), "AGAIN": again, "READS": reads}
        hands.enqueue(id="job", command=GIVE, backoff_base=0, cwd="/", env=env, **keys)

    return prepare


def _child(hands: Hands) -> None:
    """A job with a text and the result of a parent."""
    hands.run(hands.enqueue(id="p1"), OK)
    Path(hands.spool.result_path("p1", 1)).write_text("[1]")
    _job(reads="1", stdin="a text, ", after="p1")(hands)


def _waiting(hands: Hands) -> str:
    (name,) = hands.spool.waiting_names()
    return name


def _work(hands: Hands, name: str) -> None:
    hands.work(name)


def _gave_and_died(hands: Hands) -> None:
    """The worker died when its command had given back a result."""
    hands.start(hands.enqueue(id="job"))
    desk = Path(hands.spool.desk_path(hands.lease.name))
    desk.mkdir()
    (desk / "result").write_text("given by 1")
    (hands.witness.parent / "gave.job").write_text("1\n")
    hands.die()


def _snoozed(hands: Hands) -> None:
    hands.run(hands.enqueue(id="job", backoff_base=0, snooze_max="1h"), SNOOZE)


def _settle(outcome: Outcome) -> Callable[[Hands, Any], object]:
    return lambda hands, claimed: hands.settlements.settle(claimed, outcome)


def run_by_a_worker(hands: Hands) -> int:
    """Let a real worker run what is due: a duty in the recovery."""
    if hands.spool.job_names(RUNNING):
        return 0  # the command of a killed worker may live on
    due = [name for name in hands.spool.waiting_names() if (parts := names.parse(name)) is None or parts.due_at is None]
    for name in due:
        item = record.decode(Path(hands.spool.path("pending", name)).read_bytes())
        if item.command == GIVE:
            hands.work(name)
    return len(due)


def _wrong_results_of(root: Path, spool: SpoolDir, state: str, job_id: str) -> list[str]:
    history = json.loads(Path(spool.path(state, f"{job_id}.json")).read_bytes())["history"]
    noted = {event["attempt"]: event["result_bytes"] for event in history if "result_bytes" in event}
    witness = root / f"gave.{job_id}"
    gave = {int(line) for line in witness.read_text().split()} if witness.exists() else set()
    wrong = [f"the result of {job_id}, attempt {attempt}, is lost (P4)" for attempt in gave - noted.keys()]
    for attempt, size in noted.items():
        path = Path(spool.result_path(job_id, attempt))
        text = path.read_text() if path.exists() else ""
        if len(text) != size or (attempt in gave and not text.startswith(f"given by {attempt}")):
            wrong.append(f"{job_id}, attempt {attempt}, gave back {size} bytes on record, and {text!r} is there")
        if "p1" in text and '"json":[1]' not in "".join(text.split()):
            wrong.append(f"{job_id} did not get the result of its parent: {text!r}")
    return wrong


def wrong_results(root: Path) -> list[str]:
    """What is wrong with the results: one is lost, torn, or of another run; a desk is left."""
    spool = SpoolDir(root / "spool")
    wrong: list[str] = []
    for state in (DONE, DLQ):
        for name in spool.job_names(state):
            wrong += _wrong_results_of(root, spool, state, name.removesuffix(".json"))
    hands = Hands(root, "sweeping")
    Sweeper(hands.session, hands.stripes).sweep()
    hands.close()
    return wrong + [f"the desk {name} is left" for name in os.listdir(spool.desk_dir)]


def _worked(name: str, prepare: Callable[[Hands], None], ends: Endings, cut: Endings) -> Operation:
    return Operation(f"work: {name}", prepare, _waiting, _work, ends, cut)


OPERATIONS = {
    made.name: made
    for made in (
        _worked("a result", _job(), {"job": {_ONCE}}, {"job": {_TWICE}}),
        _worked(
            "a failure with a result",
            _job(2, max_retries=1),
            {"job": {"enqueued started failed started succeeded @done"}},
            {
                "job": {
                    "enqueued started abandoned started failed @dlq",
                    _TWICE,
                }
            },
        ),
        _worked(
            "standard input and the result of a parent",
            _child,
            {"p1": {_ONCE}, "job": {"enqueued unblocked started succeeded @done"}},
            {"job": {"enqueued unblocked started abandoned started succeeded @done"}},
        ),
        _worked(
            "a snooze",
            _job(2, 75, again="1"),
            {"job": {"enqueued started snoozed started succeeded @done"}},
            {"job": {_TWICE, "enqueued started abandoned started snoozed started succeeded @done"}},
        ),
        Operation(
            "settle: a snooze in a row",
            _snoozed,
            lambda hands: hands.clock.advance(60) or hands.start(_waiting(hands)),
            _settle(SNOOZE),
            {"job": {"enqueued started snoozed started snoozed started succeeded @done"}},
            {"job": {"enqueued started snoozed started abandoned started succeeded @done"}},
        ),
        Operation(
            "settle: the last snooze of a row",
            _snoozed,
            lambda hands: hands.clock.advance(7200) or hands.start(_waiting(hands)),
            _settle(SNOOZE),
            {"job": {"enqueued started snoozed started snoozed @dlq"}},
            {"job": {"enqueued started snoozed started abandoned started succeeded @done"}},
        ),
        Operation(
            "settle: given up",
            lambda hands: hands.enqueue(id="job", backoff_base=60, give_up_after=30),
            lambda hands: hands.start("job.json"),
            _settle(Outcome("failed", 1, "", 0.01)),
            {"job": {"enqueued started failed @dlq"}},
            {"job": {"enqueued started abandoned @dlq", _TWICE}},
        ),
        Operation(
            "rescue: a result",
            _gave_and_died,
            lambda _hands: None,
            lambda hands, _: hands.rescue.rescue_all(set()),
            {"job": {_TWICE}},
        ),
    )
}
