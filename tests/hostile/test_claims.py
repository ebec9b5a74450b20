"""Each file of the corpus by itself, through a worker's hands in this process: what a claim makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.jobs import verdict
from queuectl.jobs.verdict import Claimed, Declined
from queuectl.model import record
from queuectl.model.lifecycle import PENDING, REJECTED, RUNNING
from queuectl.model.text import safe
from tests.helpers import Desk, make_spool, names_in, write_drop
from tests.hostile.corpus import CORPUS, Alone, Case, Rejected, Runs, Splits, Waits, doc
from tests.hostile.ground import Ground, fingerprint

# The name of `name-far` says that it is not due, which the run queue obeys and a claim does not look at.
CASES = [case for case in CORPUS if case.folder in (PENDING, RUNNING) and case.name != "name-far"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One spool for all cases, which leave it empty enough: making one for each takes longer than the case."""
    made = Desk(make_spool(tmp_path_factory.mktemp("hostile") / "spool"))
    write_drop(made.spool, "q-taken.json", doc(), "done")
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_file_becomes_what_it_must(case: Case, shared: Desk) -> None:
    """P6, P11: a claim runs the file, refuses it unchanged with a reason that says why, splits it, or leaves it."""
    spool = shared.spool
    ground = Ground(Path(spool.root).parent, spool)
    before = {state: set(names_in(spool, state)) for state in ("done", "dlq", REJECTED)}
    ground.put([case])
    try:
        _judge(case, shared, ground)
    finally:
        for state in (PENDING, RUNNING, *before):
            for name in set(names_in(spool, state)) - before.get(state, set()):
                _remove(Path(spool.path(state, name)))


def _judge(case: Case, desk: Desk, ground: Ground) -> None:
    result = _claimed(case, desk)
    expect = case.expect
    if isinstance(expect, Runs):
        if case.name in ("running-used-up", "running-succeeded", "running-dead"):
            assert result == expect.state
            return
        assert isinstance(result, Claimed), result
        assert record.exact(Path(desk.spool.path(RUNNING, result.name)).read_bytes()) is not None
        return
    assert isinstance(result, Declined), result
    if isinstance(expect, Rejected):
        assert isinstance(result, verdict.Rejected), result
        assert expect.why in result.why
        kept = Path(desk.spool.path(REJECTED, result.name))
        assert fingerprint(kept) == ground.prints[case.name]
        assert f"Why:   {safe(result.why)}" in Path(desk.spool.reason_path(result.name)).read_text(encoding="utf-8")
    elif isinstance(expect, Splits):
        assert isinstance(result, verdict.Split) and result.jobs == expect.jobs, result
    elif isinstance(expect, Waits):
        assert isinstance(result, verdict.Later), result
        assert result.name.startswith(f"{expect.job_id},due=")
    else:
        assert isinstance(expect, Alone)
        assert isinstance(result, verdict.Foreign | verdict.Unreadable), result
        assert fingerprint(ground.path(case)) == ground.prints[case.name]


def _claimed(case: Case, desk: Desk) -> Claimed | Declined | str:
    """Do what a pool does with a file: claim it, and again where it was renamed, mended or found too early."""
    name = case.file
    if case.folder == RUNNING:
        try:
            settled = desk.orphans.rescue(name)
        except OSError as error:
            return verdict.Foreign(None, str(error))
        assert settled is not None
        if settled.to != PENDING:
            return settled.to
        name = settled.name
    for _ in range(4):
        result = desk.begin(name)
        if isinstance(result, Claimed):
            return result
        if isinstance(result, verdict.Arriving):
            lines = name.endswith(".jsonl") and not result.why
            assert result.sig is not None
            result = desk.claims.splits.split(name) if lines else desk.triage.reject_quiet(name, result)
        if isinstance(result, verdict.Later) and not isinstance(case.expect, Waits):
            name = result.name
            desk.clock.advance(2)
        elif not isinstance(result, verdict.Repaired):
            return result
    return result


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    else:
        path.unlink()


def test_corpus_is_large_and_each_file_has_one_name() -> None:
    """The corpus holds what it is said to hold, and no case hides another."""
    assert len(CORPUS) > (1800 if os.name != "nt" else 1600)  # fewer names and kinds of files are possible there
    assert len({(case.folder, case.file) for case in CORPUS}) == len({case.name for case in CORPUS}) == len(CORPUS)
