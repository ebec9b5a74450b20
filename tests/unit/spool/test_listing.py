"""listing: what is in the folders, by the names of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from tests.helpers import write_drop


def test_listings_pass_over_what_is_no_job(spool: SpoolDir) -> None:
    """Temporary and foreign names are left alone, and can be reported (P11)."""
    for name in ("b.json", "a.json", "c.jsonl", "a.json.part", ".hidden.json", "~x.json", "notes.txt", "README.txt"):
        write_drop(spool, name, "")
    assert sorted(spool.waiting_names()) == ["a.json", "b.json", "c.jsonl"]
    assert spool.job_names(PENDING) == ["a.json", "b.json"]
    assert spool.foreign_names(PENDING) == [".hidden.json", "a.json.part", "notes.txt", "~x.json"]


@pytest.mark.parametrize("state", [PENDING, RUNNING, DONE, DLQ])
def test_job_is_found_by_its_id_in_every_state(spool: SpoolDir, state: str) -> None:
    """Finding a job is a stat a state (P2)."""
    write_drop(spool, "job1.json", "", state)
    assert spool.find("job1") == Located(state, "job1.json", spool.path(state, "job1.json"))
    assert spool.find("job") is None
    assert spool.find("job11") is None


@pytest.mark.parametrize(
    "name", ["job1,due=20270115T080000Z.json", "job1,prio=9.json", "JOB1.json", "job1,due=20270115T080000Z,prio=9.json"]
)
def test_waiting_job_is_found_under_a_name_with_flags(spool: SpoolDir, name: str) -> None:
    """A job that waits is found by its id too, ignoring case."""
    write_drop(spool, name, "")
    found = spool.find("job1")
    assert found is not None
    assert os.path.normcase(found.name) == os.path.normcase(name)  # on Windows both are one name


@pytest.mark.parametrize("job_id", ["../outside", "../pending/x", "x/../x", "..\\pending\\x", "", ".", "x\0"])
def test_id_that_leads_elsewhere_finds_nothing(spool: SpoolDir, tmp_path: Path, job_id: str) -> None:
    """An id is a name, never a path (P10)."""
    write_drop(spool, "x.json", "")
    (Path(spool.root) / "outside.json").write_text("")
    assert spool.find(job_id) is None


def test_holds_looks_only_where_it_is_asked_to(spool: SpoolDir) -> None:
    """A few stats, no listing."""
    write_drop(spool, "job1.json", "", DONE)
    assert spool.holds("job1") == DONE
    assert spool.holds("job1", (RUNNING, DLQ)) == ""
