"""flow_split: a file whose jobs name each other is made as a whole, parents first, or refused as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from queuectl.flows import dependencies
from queuectl.jobs import flow_split, splitter
from queuectl.jobs.hopeless import Hopeless, Unsure
from queuectl.jobs.splitter import Splitter
from queuectl.jobs.verdict import Claimed, Dead, Later, Rejected, Split
from queuectl.model import names
from queuectl.model.lifecycle import DONE, PENDING, REJECTED, Outcome
from queuectl.spool import batch
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from tests.helpers import Desk, listing, rejected_name, without_arrival

LINES: list[dict[str, Any]] = [
    {"command": "mail", "after": {"id": "*", "when": "ended"}},
    {"ref": "sum", "command": "sum", "after": ["a", "b"]},
    {"ref": "a", "command": "part a", "after": "load", "key": "db"},
    {"ref": "b", "command": "part b", "after": "load"},
    {"ref": "load", "command": "load"},
    {"command": "free"},
]


def lines(rows: list[dict[str, Any]]) -> str:
    """The rows as a file of lines, with a blank one."""
    return "\n" + "".join(json.dumps(row) + "\n" for row in rows)


def stems(desk: Desk) -> list[str]:
    """The ids in pending/, without the token."""
    found = (names.parse(name) for name in desk.spool.waiting_names())
    return sorted(parts.stem.rpartition("-")[2] for parts in found if parts is not None)


def split_by_many(desk: Desk, name: str, content: object) -> batch.Note | Rejected:
    """Split a file, each step by a worker of its own."""
    desk.drop(name, content)
    taken = Splitter(desk.session, Roster(desk.spool, clock=desk.clock)).take(name, names.clean_id(name))
    while True:
        step = Splitter(desk.session, Roster(desk.spool, clock=desk.clock)).step(taken)
        if step.kept:
            return Rejected(step.kept, step.why)
        if step.note.is_over:
            return step.note


@pytest.mark.parametrize(("name", "content"), [("x y.jsonl", lines(LINES)), ("x y.json", LINES)])
def test_a_flow_is_made_parents_first(desk: Desk, name: str, content: object) -> None:
    """Ids are TOKEN-REF and TOKEN-PLACE, and the names of new jobs come in the order in which they may run."""
    desk.drop(name, content)
    made = desk.claims.splits.split(name)
    assert isinstance(made, Split) and made.jobs == 6
    assert [each.partition(",")[0].rpartition("-")[2].removesuffix(".json") for each in made.names] == [
        "0006", "load", "a", "b", "sum", "0001",
    ]  # fmt: skip
    token = made.names[0].rpartition("-0006")[0]
    assert token.startswith("x-y-") and len(token) <= 41 + 21
    sums = desk.record(PENDING, next(each for each in desk.spool.waiting_names() if "-sum" in each))
    assert sums.extras.after == (f"{token}-a", f"{token}-b")
    assert sums.history[0].batch == f"{token}#2"
    assert os.listdir(desk.spool.split_dir) == [f"{token}.json"]


@pytest.mark.parametrize("step_lines", [1, 2, 500])
@pytest.mark.parametrize("as_lines", [True, False])
def test_each_step_may_be_another_workers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step_lines: int, as_lines: bool
) -> None:
    """What one worker has checked another one does not check again, and all compute one order."""
    monkeypatch.setattr(splitter, "STEP_LINES", step_lines)
    monkeypatch.setattr(splitter, "_STEP_S", 0.0)
    made = split_by_many(desk, "f.jsonl" if as_lines else "f.json", lines(LINES) if as_lines else LINES)
    assert isinstance(made, batch.Note) and made.made == 6 and made.phase == flow_split.FLOW
    assert made.parts == 6
    assert stems(desk) == ["0001", "0006", "a", "b", "load", "sum"]
    assert [each for each in os.listdir(desk.spool.split_dir) if each.endswith(".plan")] == []


@pytest.mark.parametrize(
    ("place", "changed", "why"),
    [
        (6, {"command": 5}, "command: takes"),
        (6, {"command": "x", "queue": "NO"}, "queue: 'NO'"),
        (6, {"command": "x", "id": "mine"}, "id: is not possible"),
        (6, {"command": "x", "ref": "a"}, "ref: 'a' occurs twice"),
        (6, {"command": "x", "after": "nobody"}, "after: 'nobody' is neither"),
        (5, {"ref": "load", "command": "load", "after": "sum"}, "wait for each other"),
        (6, {"command": "x", "expires_after": 0}, "expires_after: zero"),
    ],
)
@pytest.mark.parametrize("as_lines", [True, False])
def test_one_mistake_refuses_the_whole_file(
    desk: Desk, place: int, changed: dict[str, Any], why: str, as_lines: bool
) -> None:
    """P6: the file is kept unchanged, its reason names the line and the key, and no job was made."""
    rows = [*LINES[: place - 1], changed, *LINES[place:]]
    content = lines(rows) if as_lines else rows
    made = split_by_many(desk, "f.jsonl" if as_lines else "f.json", content)
    assert isinstance(made, Rejected) and why in made.why
    line = f"line {place + 1}: " if as_lines else f"element {place}: "
    assert made.why.startswith(line) or "wait for each other" in why
    name = rejected_name(desk.spool)
    kept = Path(desk.spool.path(REJECTED, name)).read_text()
    assert kept == content or json.loads(kept) == content
    assert made.why in Path(desk.spool.reason_path(name)).read_text()
    assert "pending" not in listing(desk.spool) and os.listdir(desk.spool.split_dir) == []
    assert os.listdir(desk.spool.taken_dir) == []


def test_a_line_that_is_no_json_refuses_a_flow(desk: Desk) -> None:
    """Half a flow is worse than none."""
    made = split_by_many(desk, "f.jsonl", lines(LINES) + "{broken}\n" + lines(LINES[:1]))
    assert isinstance(made, Rejected) and "line 8 is not valid JSON" in made.why
    assert "pending" not in listing(desk.spool)


def test_files_without_the_keys_are_judged_line_by_line(desk: Desk) -> None:
    """Also where the words are in a text or a nested key: a bad line stops none of the good ones (P6)."""
    rows: list[dict[str, Any]] = [{"command": "a", "meta": {"after": "lunch"}}, {"comand": "b"}, {"command": '"ref"'}]
    made = split_by_many(desk, "f.jsonl", lines(rows))
    assert isinstance(made, batch.Note) and (made.made, made.refused, made.phase) == (2, 1, flow_split.PLAIN)
    made = split_by_many(desk, "g.jsonl", lines([{"command": "a"}]))
    assert isinstance(made, batch.Note) and (made.made, made.phase) == (1, "")


def test_a_parent_may_be_in_the_spool(desk: Desk) -> None:
    """A name that is no ref is the id of a job, in any state."""
    desk.run(desk.enqueue(id="old"), Outcome("succeeded", 0))
    made = split_by_many(desk, "f.json", [{"command": "x", "after": "old"}])
    assert isinstance(made, batch.Note) and made.made == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_flow_in_another_encoding(desk: Desk, encoding: str) -> None:
    """Editors of Windows save such files."""
    path = Path(desk.spool.path(PENDING, "f.jsonl"))
    path.write_bytes(lines(LINES).encode(encoding))
    made = desk.claims.splits.split("f.jsonl")
    assert isinstance(made, Split) and made.jobs == 6
    assert desk.record(PENDING, without_arrival(made.names[0])).command == "free"


def test_a_split_that_is_done_again_makes_no_job_twice(desk: Desk) -> None:
    """P1: as after a crash before the last note; a job that has run meanwhile counts too."""
    desk.drop("f.json", LINES)
    made = desk.claims.splits.split("f.json")
    assert isinstance(made, Split)
    desk.run(without_arrival(made.names[0]), Outcome("succeeded", 0))
    token = made.names[0].rpartition("-0006")[0]
    taken = f"{token}.json"
    os.rename(f"{desk.spool.taken_dir}/{taken}.done", f"{desk.spool.taken_dir}/{taken}")
    Path(desk.spool.split_path(token)).unlink()
    assert desk.finish_splits() == 6
    assert len(desk.spool.job_names(PENDING)) == 5 and len(desk.spool.job_names(DONE)) == 1


# ------------------------------------------------------------------------------------------------------------ the star


def group(desk: Desk, count: int, when: str) -> list[str]:
    """A flow of some members and one job that waits for all; the ids, the last one is that job's."""
    desk.drop(
        "g.json",
        [
            *({"command": "x", "max_retries": 0} for _ in range(count)),
            {"command": "all", "after": {"id": "*", "when": when}},
        ],
    )
    made = desk.claims.splits.split("g.json")
    assert isinstance(made, Split)
    return [name.partition(",")[0].removesuffix(".json") for name in made.names]


def named(desk: Desk, job_id: str) -> str:
    """The name of a waiting job."""
    (name,) = [each for each in desk.spool.waiting_names() if each.partition(",")[0].removesuffix(".json") == job_id]
    return name


def test_a_star_waits_for_the_last_member_that_has_not_ended(desk: Desk) -> None:
    """Its name goes down the file as members end, and each look goes on where the last one stopped."""
    *members, star = group(desk, 4, "ended")
    assert named(desk, star) == f"{star},after={members[3]}.json"
    for at in (3, 1):
        desk.run(named(desk, members[at]), Outcome("failed" if at == 1 else "succeeded", 1 if at == 1 else 0))
    assert isinstance(desk.claim(named(desk, star)), Later)
    assert named(desk, star) == f"{star},after={members[2]}.json"
    for at in (0, 2):
        desk.run(named(desk, members[at]), Outcome("succeeded", 0))
    assert isinstance(desk.claim(named(desk, star)), Claimed)


def test_a_dead_member_ends_a_star_that_wants_success(desk: Desk) -> None:
    """It is unmet because of that member, whichever comes first in the look."""
    *members, star = group(desk, 3, "done")
    for at, outcome in enumerate((Outcome("succeeded", 0), Outcome("failed", 1), Outcome("succeeded", 0))):
        desk.run(named(desk, members[at]), outcome)
    verdict = desk.claim(named(desk, star))
    assert isinstance(verdict, Dead) and members[1] in verdict.why


@pytest.mark.parametrize("when", ["done", "ended"])
def test_a_member_that_is_nowhere_counts_as_done(desk: Desk, when: str) -> None:
    """Somebody deleted it. One look goes over all that are gone, once the pool has found one."""
    *members, star = group(desk, 6, when)
    for at in (1, 3, 4, 5):
        os.unlink(desk.spool.path(PENDING, named(desk, members[at])))
    name = named(desk, star)
    assert isinstance(desk.claim(name), Later) and named(desk, star) == name, "no pool has looked twice yet"
    found = Hopeless(desk.session, desk.stripes).note_missing(name, members[5], again=False)
    assert isinstance(found, Unsure)
    assert isinstance(desk.claim(name), Later)
    assert named(desk, star) == f"{star},after={members[2]}.json"
    for at in (0, 2):
        desk.run(named(desk, members[at]), Outcome("succeeded", 0))
    assert isinstance(desk.claim(named(desk, star)), Later)
    name = named(desk, star)
    assert name == f"{star},after={members[1]}.json"
    Hopeless(desk.session, desk.stripes).note_missing(name, members[1], again=False)
    assert isinstance(desk.claim(name), Claimed)


def test_a_large_group_is_looked_at_by_listings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a thousand members at once are not asked one by one; here two."""
    monkeypatch.setattr(dependencies, "_STATS_AT_MOST", 2)
    *members, star = group(desk, 6, "ended")
    for at in range(1, 6):
        desk.run(named(desk, members[at]), Outcome("failed", 1))
    asked: list[str] = []
    holds = desk.spool.holds

    def counted(job_id: str, *states: tuple[str, ...]) -> str:
        asked.append(job_id)
        return holds(job_id, *states)

    monkeypatch.setattr(desk.spool, "holds", counted)
    assert isinstance(desk.claim(named(desk, star)), Later)
    assert [each for each in asked if each in members[1:5]] == [members[4]]
    assert named(desk, star) == f"{star},after={members[0]}.json"


@pytest.mark.parametrize(("name", "content"), [("x.jsonl", lines(LINES)), ("x.json", LINES)])
def test_an_older_queuectl_sees_no_flow_in_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, content: object
) -> None:
    """It would make jobs of the file that wait for nobody: from before the first note that says what the file is, the
    file has a name that an older one leaves alone. Each step may be another worker's, and a crash may come in between.
    """
    monkeypatch.setattr(splitter, "STEP_LINES", 1)
    monkeypatch.setattr(splitter, "_STEP_S", 0.0)
    seen: list[tuple[str, list[str]]] = []
    write = splitter.write_note

    def noted(session: Session, token: str, note: batch.Note) -> None:
        older = [each for each in os.listdir(desk.spool.taken_dir) if each.endswith((".json", ".jsonl"))]
        seen.append((note.phase, older))
        write(session, token, note)

    monkeypatch.setattr(splitter, "write_note", noted)
    note = split_by_many(desk, name, content)
    assert isinstance(note, batch.Note) and note.made == 6
    assert {phase for phase, _ in seen} >= {"checking", "flow"}
    assert all(not older for phase, older in seen if phase in ("checking", "flow"))
    assert any(older for phase, older in seen if phase in ("", "looking"))
    assert [each.rpartition(".")[2] for each in os.listdir(desk.spool.taken_dir)] == ["done"]


def test_a_crash_between_the_name_and_the_note_costs_a_look(desk: Desk) -> None:
    """The file has its other name already, and its note still says `looking`."""
    desk.drop("x.jsonl", lines(LINES))
    one = Splitter(desk.session, Roster(desk.spool, clock=desk.clock))
    taken = one.take("x.jsonl", "x")
    path = Path(desk.spool.taken_dir) / taken
    path.rename(f"{path}{batch.FLOW_ENDING}")
    assert batch.unfinished(desk.spool) == [taken]
    assert desk.finish_splits() == 6 and batch.unfinished(desk.spool) == []


def test_a_flow_is_refused_under_its_own_name(desk: Desk) -> None:
    """The file in rejected/ is called as it was dropped, also when it had the other name by then."""
    desk.drop("x.jsonl", lines([*LINES, {"command": "x", "after": "lod"}]))
    made = split_by_many(desk, "x.jsonl", lines([*LINES, {"command": "x", "after": "lod"}]))
    assert isinstance(made, Rejected) and made.name.endswith(".jsonl")
    assert os.listdir(desk.spool.taken_dir) == []


@pytest.mark.parametrize(
    ("row", "why", "hint"),
    [
        ({"ref": "x", "command": "x", "after": "x"}, "line 2: after: 'x' waits for itself", "remove it"),
        ("{broken", "line 2 is not valid JSON: broken is neither", "put it in double quotes"),
        ({"command": "x", "queue": "My Mail!"}, "line 2: queue: 'My Mail!' must have", "write 'my-mail', for example"),
        ({"command": "x", "queue": "--"}, "line 2: queue: '--' must have", "write 'mail', for example"),
    ],
)
def test_a_mistake_is_named_once_with_what_to_do(desk: Desk, row: object, why: str, hint: str) -> None:
    """The reason in rejected/ has the line and the key, and the next sentence helps."""
    text = row if isinstance(row, str) else json.dumps(row)
    made = split_by_many(desk, "x.jsonl", json.dumps({"ref": "load", "command": "load"}) + f"\n{text}\n")
    assert isinstance(made, Rejected) and made.why.startswith(why)
    assert hint in Path(desk.spool.reason_path(made.name)).read_text()
