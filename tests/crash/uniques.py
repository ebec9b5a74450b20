"""The operations of the crash sweep on unique jobs (P15): note and publication, skip, replacement, claim, settle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuectl.jobs import submission
from queuectl.jobs.requeue import requeue
from queuectl.model.lifecycle import DLQ, DONE, PENDING
from queuectl.model.uniqueness import Note
from queuectl.spool import key_notes
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import FAILED, OK, Endings, Hands, Operation
from tests.helpers import Desk

RAN = "enqueued started succeeded @done"
_TWICE = "enqueued started abandoned started succeeded @done"
SKIPPED = "enqueued skipped @done"
_CUT_RUN = "enqueued started abandoned skipped @done"
_BOTH: Endings = {"job": {"", RAN}, "old": {RAN, SKIPPED}}

Prepare = Callable[[Hands], Any]
Act = Callable[[Hands, Any], object]


def _nothing(_hands: Hands) -> None:
    return None


def _add(job_id: str, **keys: Any) -> Act:
    def act(hands: Hands, _: object) -> None:
        prepared = hands.producer.prepare({"command": "true", "id": job_id, "unique": "k", **keys}, by="enqueue")
        submission.put_in(hands.producer, [prepared])

    return act


def _add_several(hands: Hands, _: object) -> None:
    """Jobs without ids of their own, so they take each step together."""
    keys: list[dict[str, Any]] = [{"unique": "m"}, {}, {"unique": "k", "on_duplicate": "replace"}, {"unique": "n"}]
    documents = [
        {"command": "true", "tags": [tag], **each} for tag, each in zip(("m", "plain", "job", "n"), keys, strict=True)
    ]
    submission.put_in(hands.producer, [hands.producer.prepare(each, by="enqueue") for each in documents])


def _old(**keys: Any) -> Prepare:
    """A job with the key that waits."""
    return lambda hands: _add("old", **keys)(hands, None)


def _old_runs(hands: Hands) -> None:
    """A worker runs it, and dies with whoever is swept."""
    hands.holder = Desk(hands.spool, worker="holder", clock=hands.clock, settings=hands.settings)
    hands.holder.start(_name(hands, "old"))


def _name(hands: Hands, job_id: str) -> str:
    [name] = [name for name in hands.spool.waiting_names() if name.partition(",")[0].removesuffix(".json") == job_id]
    return name


def _dropped(how: str, *, with_old: bool = True, **keys: Any) -> Prepare:
    def prepare(hands: Hands) -> None:
        if with_old:
            _old()(hands)
        hands.drop("job.json", {"command": "true", "unique": "k", "on_duplicate": how, **keys})

    return prepare


def _claim(job_id: str) -> Act:
    return lambda hands, _: hands.begin(_name(hands, job_id))


def _judge(hands: Hands, _: object) -> object:
    return hands.triage.judge("job.json")


def _both_wait(hands: Hands) -> None:
    """As after the death of a producer before the end of the job that it replaced."""
    _old()(hands)
    made = hands.enqueue(id="job", unique="l")
    path = Path(hands.spool.path(PENDING, made))
    path.write_bytes(path.read_bytes().replace(b'"unique": "l"', b'"unique": "k"'))
    key_notes.write(hands.spool, "k", Note("job", made, replaces=("old",)), sync=False)


def _note_is_lost(hands: Hands) -> None:
    _old()(hands)
    key_notes.forget(hands.spool, "k")


def _started(hands: Hands) -> Any:
    return hands.start(_name(hands, "old"))


def _started_and_replaced(hands: Hands) -> Any:
    _old()(hands)
    claimed = _started(hands)
    _add("job", on_duplicate="replace")(hands, None)
    return claimed


def _dead(hands: Hands) -> None:
    _old(max_retries=0)(hands)
    hands.run(_name(hands, "old"), FAILED)


def _dead_and_another_waits(hands: Hands) -> None:
    _dead(hands)
    _add("job")(hands, None)
    os.rename(hands.spool.path(DLQ, "old.json"), hands.spool.path(PENDING, "old.json"))


def _split(hands: Hands, _: object) -> None:
    hands.begin("many.json")
    hands.finish_splits()


def _sent(how: str) -> Prepare:
    def begin(hands: Hands) -> None:
        hands.inbox.mkdir(exist_ok=True)
        document = {"command": "true", "unique": "k", "on_duplicate": how}
        (hands.inbox / "job.json").write_text(json.dumps(document))

    return begin


def one_of_them_ran(spool: SpoolDir) -> list[str]:
    """Return what is wrong with two jobs of one key that waited at the same time: one of them has to run (P15)."""
    ran = []
    for name in spool.job_names(DONE):
        item = spool.read(DONE, name).record
        name = (item.tags or [item.id])[0]
        if name in ("old", "job") and any(event.event == "succeeded" for event in item.history):
            ran.append(name)
    return [] if len(ran) == 1 else [f"of the jobs with one key, {ran or 'none'} ran (P15)"]


def _case(name: str, prepare: Prepare, act: Act, ends: Endings, *, begin: Prepare = _nothing, **more: Any) -> Operation:
    return Operation(name, prepare, begin, act, ends, **more)


_REPLACE = {"on_duplicate": "replace"}
# Two jobs of one key wait at the same time in these: exactly one of them has to run.
RIVALS = [
    _case("skip", _old(), _add("job"), {"old": {RAN}}),
    _case("replace", _old(), _add("job", **_REPLACE), {"job": {RAN}, "old": {SKIPPED}}, cut=_BOTH),
    _case(
        "several together, one replaces",
        _old(),
        _add_several,
        {"m": {RAN}, "plain": {RAN}, "job": {RAN}, "n": {RAN}, "old": {SKIPPED}},
        cut={"m": {"", RAN}, "plain": {"", RAN}, "n": {"", RAN}, **_BOTH},
    ),
    _case(
        "replace with a delay",
        _old(delay=30),
        _add("job", delay=30, **_REPLACE),
        {"job": {RAN}, "old": {SKIPPED}},
        cut=_BOTH,
    ),
    _case(
        "replace while one runs",
        _old(),
        _add("job", **_REPLACE),
        {"job": {RAN}, "old": {_CUT_RUN}},
        begin=_old_runs,
        cut={"job": {"", RAN, "enqueued unblocked started succeeded @done"}, "old": {_TWICE, _CUT_RUN}},
    ),
    _case("a drop is skipped", _dropped("skip"), _claim("job"), {"job": {SKIPPED}, "old": {RAN}}),
    _case("a drop is skipped before its turn", _dropped("skip"), _judge, {"job": {SKIPPED}, "old": {RAN}}),
    _case(
        "a drop replaces",
        _dropped("replace", delay=30),
        _judge,
        {"job": {RAN}, "old": {SKIPPED}},
        cut={"job": {RAN}, "old": {SKIPPED}},
    ),
    _case(
        "a drop replaces and starts",
        _dropped("replace"),
        _claim("job"),
        {"job": {_TWICE}, "old": {SKIPPED}},
        cut={"job": {RAN, _TWICE}, "old": {SKIPPED}},
    ),
    _case("claim of a replaced job", _both_wait, _claim("old"), {"job": {RAN}, "old": {SKIPPED}}),
    _case(
        "a line of a file is skipped",
        lambda hands: (_old()(hands), hands.drop("many.json", [{"command": "true", "unique": "k", "tags": ["line"]}])),
        _split,
        {"line": {SKIPPED}, "old": {RAN}},
        begin=lambda hands: hands.open_stripes("batch"),
    ),
]
# One job alone, or two that may follow each other: a file in an inbox is not taken in yet.
ALONE = [
    _case(
        "a job of an inbox is skipped",
        _old(),
        lambda hands, _: hands.poller.poll(),
        {"job": {SKIPPED}, "old": {RAN}},
        cut={"job": {RAN, SKIPPED}, "old": {RAN}},
        begin=_sent("skip"),
        inbox=("job.json.done.txt",),
    ),
    _case(
        "a job of an inbox replaces",
        _old(),
        lambda hands, _: hands.poller.poll(),
        {"job": {RAN}, "old": {SKIPPED}},
        cut={"job": {RAN}, "old": {RAN, SKIPPED}},
        begin=_sent("replace"),
        inbox=("job.json.done.txt",),
    ),
    _case("the first of its key", _nothing, _add("job"), {"job": {RAN}}, cut={"job": {"", RAN}}),
    _case(
        "a drop that starts at once",
        _dropped("skip", with_old=False, unique_until="started"),
        _claim("job"),
        {"job": {_TWICE}},
        cut={"job": {RAN, _TWICE}},
    ),
    _case("claim", _old(), _claim("old"), {"old": {_TWICE}}, cut={"old": {RAN, _TWICE}}),
    _case("claim without a note", _note_is_lost, _claim("old"), {"old": {_TWICE}}, cut={"old": {RAN, _TWICE}}),
    _case(
        "claim of one that gives its key up",
        _old(unique_until="started"),
        _claim("old"),
        {"old": {_TWICE}},
        cut={"old": {RAN, _TWICE}},
    ),
    _case(
        "claim of one that holds its key for a time",
        _old(unique_until="started", unique_for="1h"),
        _claim("old"),
        {"old": {_TWICE}},
        cut={"old": {RAN, _TWICE}},
    ),
    _case(
        "settle",
        _old(),
        lambda hands, claimed: hands.settlements.settle(claimed, OK),
        {"old": {RAN}},
        begin=_started,
        cut={"old": {RAN, _TWICE}},
    ),
    _case(
        "settle a failure whose replacement waits",
        _nothing,
        lambda hands, claimed: hands.settlements.settle(claimed, FAILED),
        {"old": {"enqueued started failed skipped @done"}, "job": {RAN}},
        begin=_started_and_replaced,
        cut={"old": {"enqueued started failed skipped @done", _CUT_RUN}, "job": {RAN}},
    ),
    _case(
        "settle a failure",
        _old(),
        lambda hands, claimed: hands.settlements.settle(claimed, FAILED),
        {"old": {"enqueued started failed started succeeded @done"}},
        begin=_started,
        cut={"old": {"enqueued started failed started succeeded @done", _TWICE}},
    ),
    _case(
        "retry",
        _dead,
        lambda hands, _: requeue(hands.session, "old", by="retry"),
        {"old": {"enqueued started failed requeued started succeeded @done"}},
        cut={"old": {"enqueued started failed requeued requeued started succeeded @done"}},
        again=True,
    ),
    _case(
        "a dead job is dragged back while another one waits",
        _dead_and_another_waits,
        _claim("old"),
        {"old": {"enqueued started failed requeued skipped @done"}, "job": {RAN}},
        # Before `requeued` is on record, rescue goes by the outcome that is.
        cut={"old": {"enqueued started failed requeued started succeeded @done", "enqueued started failed @dlq"}},
    ),
]
