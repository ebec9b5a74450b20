"""Schedules on the command line and in the library: each command does what somebody does with files."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.errors import InvalidJobError, QueuectlError, UnknownScheduleError
from queuectl.jobs.ticker import Ticker
from queuectl.model import tick_name, times
from queuectl.model.lifecycle import PENDING
from queuectl.model.text import command_text
from queuectl.monitor import facts, metrics, page, schedule_rows, status
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import write_drop


def written(spool: SpoolDir, name: str) -> Any:
    """The document in a file of schedules/."""
    return json.loads(Path(spool.schedule_path(name)).read_text(encoding="utf-8"))


def look(spool: SpoolDir) -> None:
    """What a pool does at its look."""
    ticker = Ticker(Spool(spool.root).session, notify=lambda _: None)
    ticker.look(schedule_files.names(spool), list_again=lambda: schedule_files.names(spool))
    ticker.close()


def test_add_writes_the_file_with_the_zone(
    queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zone of the machine is written out, the command is as `enqueue` has it, and the next tick is named."""
    monkeypatch.setattr("queuectl.system.zone.local_name", lambda: "Europe/Berlin")
    done = queuectl(
        "schedule", "add", "nightly", "--cron", "0 2 * * *", "--tag", "x", "--env", "A=1", "--", "tar", "-c"
    )
    assert "schedule nightly is in schedules/; its next job is at" in done.err
    assert "no workers are running" in done.err
    assert written(spool, "nightly.json") == {
        "cron": "0 2 * * *",
        "zone": "Europe/Berlin",
        "tags": ["x"],
        "env": {"A": "1"},
        "command": ["tar", "-c"],
        "cwd": os.getcwd(),
    }


def test_add_takes_a_file_whose_keys_options_replace(queuectl: Commands, spool: SpoolDir, home: Path) -> None:
    """A job's file, or another schedule's, is the base; `--every` replaces its cron and zone."""
    job = {"command": "a.sh", "cron": "0 2 * * *", "zone": "UTC", "priority": 3, "x-mine": 1}
    (home / "job.json").write_text(json.dumps(job))
    queuectl("schedule", "add", "a", "job.json", "--priority", "5")
    assert written(spool, "a.json") == {**job, "priority": 5}
    queuectl("schedule", "add", "b", "job.json", "--every", "15m", "--offset", "1m")
    assert written(spool, "b.json") == {
        "command": "a.sh",
        "every": "15m",
        "offset": "1m",
        "priority": 3,
        "x-mine": 1,
    }


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--cron", "0 2 * *", "--", "true"], 5, "cron: '0 2 * *' has 4 fields"),
        (["--cron", "0 2 * * *", "--zone", "Berlin", "--", "true"], 5, "did you mean Europe/Berlin?"),
        (["--every", "5x", "--", "true"], 5, "every: '5x' is not a duration"),
        (["--every", "5m"], 2, "there is no command"),
        (["--", "true"], 5, "cron: is missing, and so is every"),
        (["--every", "5m", "--cron", "0 2 * * *", "--", "true"], 5, "cannot be combined"),
        (["--every", "5m", "--command", "x", "--", "true"], 2, "cannot be combined"),
        (["--every", "5m", "--overlap", "never", "--", "true"], 5, "overlap: takes skip, wait or allow"),
        (["--every", "5m", "--catch-up", "all", "--", "true"], 5, '"overlap": "allow"'),
        (["missing.json", "--every", "5m"], 2, "cannot read missing.json"),
    ],
)
def test_add_refuses_a_mistake_and_writes_nothing(
    queuectl: Commands, spool: SpoolDir, words: list[str], code: int, says: str
) -> None:
    """The error names the key and what it takes."""
    done = queuectl("schedule", "add", "a", *words, code=code)
    assert says in done.err
    assert schedule_files.names(spool) == []


@pytest.mark.parametrize("name", ["a b", "../a", "a,b", "con", "x" * 65, ""])
def test_add_refuses_a_name_that_leads_elsewhere(queuectl: Commands, spool: SpoolDir, name: str) -> None:
    """The name of a schedule is a part of a path and of ids (P10)."""
    assert "name" in queuectl("schedule", "add", name, "--every", "5m", "--", "true", code=5).err
    assert schedule_files.names(spool) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "x"])
@pytest.mark.parametrize("command", ["show", "remove", "run", "pause", "resume", "next"])
def test_an_unknown_name_is_told(queuectl: Commands, command: str, name: str) -> None:
    """No command follows a name out of schedules/."""
    assert "no schedule" in queuectl("schedule", command, name, code=3).err


def test_an_unknown_name_has_a_near_one(queuectl: Commands) -> None:
    """A typing error names what is there."""
    queuectl("schedule", "add", "nightly", "--every", "5m", "--", "true")
    assert "similar names: nightly" in queuectl("schedule", "show", "nigthly", code=3).err


def test_add_replaces_only_if_asked(queuectl: Commands, spool: SpoolDir) -> None:
    """A second schedule of a name, in any case, is refused; --replace keeps it paused if it is."""
    queuectl("schedule", "add", "a", "--every", "5m", "--", "true")
    assert "there is a schedule 'A' already" in queuectl("schedule", "add", "A", "--every", "6m", "--", "x", code=1).err
    queuectl("schedule", "pause", "a")
    queuectl("schedule", "add", "a", "--every", "7m", "--replace", "--", "true")
    assert written(spool, "a,hold.json")["every"] == "7m"


def test_pause_and_resume_rename_the_file(queuectl: Commands, spool: SpoolDir) -> None:
    """A pause is a name; a second one is refused."""
    queuectl("schedule", "add", "a", "--every", "5m", "--", "true")
    queuectl("schedule", "pause", "a")
    assert schedule_files.names(spool) == ["a,hold.json"]
    assert "paused already" in queuectl("schedule", "pause", "a", code=1).err
    assert queuectl("schedule", "list").out.split("\t")[4].strip() == "paused"
    queuectl("schedule", "resume", "a")
    assert schedule_files.names(spool) == ["a.json"]
    assert "not paused" in queuectl("schedule", "resume", "a", code=1).err


def test_remove_takes_all_that_belongs_to_it(queuectl: Commands, spool: SpoolDir) -> None:
    """The file, its note and its reason go; those of others stay."""
    queuectl("schedule", "add", "a", "--every", "5m", "--", "true")
    queuectl("schedule", "add", "ab", "--every", "5m", "--", "true")
    look(spool)
    queuectl("schedule", "remove", "a")
    assert sorted(
        tick_name.parse_note(each).schedule if ".tick" in each else each  # type: ignore[union-attr]
        for each in schedule_files.names(spool)
    ) == ["ab", "ab.json"]


def test_run_makes_a_job_that_does_not_overlap(queuectl: Commands, spool: SpoolDir) -> None:
    """A job by hand has the schedule's keys; while it waits, another one is not added (P15)."""
    queuectl("schedule", "add", "a", "--every", "5m", "--tag", "x", "--", "true")
    first = queuectl("schedule", "run", "a").out.strip()
    job = Spool(spool.root).get(first)
    assert first.startswith("a-now-")
    assert job.tags == ["x"]
    assert job.history[0]["schedule"] == "a"
    assert "QUEUECTL_TICK" in job.spec["env"]
    again = queuectl("schedule", "run", "a")
    assert again.out.strip() == first
    assert "nothing was added" in again.err
    assert len(spool.job_names(PENDING)) == 1


def test_a_tick_makes_no_job_while_one_by_hand_waits(queuectl: Commands, spool: SpoolDir) -> None:
    """The unique key of the schedule holds for jobs by hand and jobs of ticks alike (P15)."""
    queuectl("schedule", "add", "a", "--every", "1s", "--", "true")
    queuectl("schedule", "run", "a")
    note = tick_name.Note("a", next_at=time.time() // 1 - 1)
    Path(spool.schedule_path(note.name)).write_text("every 1 s, offset 0 s\n")
    look(spool)
    assert len(spool.job_names(PENDING)) == 1
    (name,) = [each for each in schedule_files.names(spool) if each.endswith(".tick")]
    found = tick_name.parse_note(name)
    assert found is not None
    assert found.skipped >= 1
    assert found.last_at is None


def test_next_prints_ticks_in_both_times(queuectl: Commands) -> None:
    """The ticks of a schedule are printed without a pool, as JSON too."""
    queuectl("schedule", "add", "a", "--cron", "0 * * * *", "--zone", "UTC", "--", "true")
    lines = queuectl("schedule", "next", "a", "-n", "3").out.splitlines()
    assert len(lines) == 3
    assert all(line.endswith(":00:00Z)") for line in lines)
    ticks = json.loads(queuectl("schedule", "next", "a", "--json").out)["ticks"]
    found = [times.from_text(each) for each in ticks]
    assert [after - before for before, after in itertools.pairwise(found)] == [3600] * 4


def test_show_has_the_command_as_list_has_it(queuectl: Commands) -> None:
    """The words of a command that need quotes have them; an offset of nothing is left out."""
    queuectl("schedule", "add", "a", "--every", "1h", "--", "sh", "-c", "date >> x")
    queuectl("schedule", "add", "b", "--every", "1h", "--offset", "1m", "--", "true")
    told = queuectl("schedule", "show", "a").out
    quoted = command_text(["sh", "-c", "date >> x"])
    assert quoted != "sh -c date >> x" and f"  command   {quoted}\n" in told
    assert "  when      every 3600 s\n" in told
    assert [line.split("\t")[1] for line in queuectl("schedule", "list").out.splitlines()] == [
        "every 3600 s",
        "every 3600 s, offset 60 s",
    ]


def test_a_mistake_is_shown_everywhere(queuectl: Commands, spool: SpoolDir) -> None:
    """list, show and status say what is wrong with a file, with no pool and with one."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    Path(spool.schedule_path("a.json")).write_text('{"command": "true", "cron": "0 25 * * *"}')
    mistake = "'25' is not allowed as hour"
    assert mistake in queuectl("schedule", "list").out
    assert mistake in queuectl("schedule", "show", "a").out
    assert mistake in queuectl("schedule", "next", "a", code=5).err
    assert mistake in queuectl("schedule", "run", "a", code=5).err
    look(spool)
    assert mistake in queuectl("status").out


def test_a_job_with_a_key_of_a_schedule_is_refused(queuectl: Commands, spool: SpoolDir) -> None:
    """`cron` in a job, typed or dropped, says where it belongs."""
    assert "put the file into schedules/" in queuectl("enqueue", '{"command": "true", "cron": "@daily"}', code=5).err
    write_drop(spool, "x.json", {"command": "true", "every": "5m"})
    with pytest.raises(QueuectlError):
        Spool(spool.root).load(PENDING, "x.json")


def test_views_show_last_and_next(queuectl: Commands, spool: SpoolDir) -> None:
    """status, status.json, the page and the metrics have a row of each schedule."""
    queuectl("schedule", "add", "a", "--every", "1h", "--", "true")
    look(spool)
    text = queuectl("status").out
    (row,) = json.loads(queuectl("status", "--json").out)["schedules"]
    assert f"schedule  a: next {row['next_at']}" in text
    assert (row["schedule"], row["when"], row["last_at"]) == ("a", "every 3600 s", None)
    found = status.collect(spool, now_at=time.time())
    assert facts.facts(found, advice=("", ""))["schedules"] == [row]
    assert "every 3600 s" in page.render(found, advice=("", ""))
    assert 'queuectl_schedules{state="active"} 1.0' in metrics.text(found)
    assert "every 3600 s" not in page.render(found._replace(is_full=False), advice=("", ""))


def test_rows_are_bounded_and_mistakes_come_first(spool: SpoolDir) -> None:
    """Of many schedules those with a mistake are shown, then those whose tick is next."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    for number in range(8):
        keys = {"command": "true", "every": 3600, "offset": number * 60, **({"zone": 1} if number == 7 else {})}
        Path(spool.schedule_path(f"s{number}.json")).write_text(json.dumps(keys))
    look(spool)
    rows, left = schedule_rows.rows(spool, most=4)
    assert rows[0].schedule == "s7"
    assert rows[0].why
    assert left == 4
    nexts = [row.next_at or 0.0 for row in rows[1:]]
    assert nexts == sorted(nexts)


def test_the_library_raises_what_it_says(spool: SpoolDir) -> None:
    """A wrong key, a name that is taken and one that is unknown are errors of their own."""
    queue = Spool(spool.root)
    queue.add_schedule("a", ["true"], every="5m", max_retries=1)
    with pytest.raises(InvalidJobError):
        queue.add_schedule("b", "true", every="5m", catch_up="some")  # type: ignore[arg-type]
    with pytest.raises(QueuectlError, match="already"):
        queue.add_schedule("a", "true", every="5m")
    with pytest.raises(UnknownScheduleError):
        queue.pause_schedule("x")
    assert [each.name for each in queue.schedules()] == ["a"]
    assert queue.schedule("a").command == ["true"]


def test_an_older_spool_gets_the_folder(queuectl: Commands, spool: SpoolDir) -> None:
    """`init` and `schedule add` make schedules/ in a spool that has none; looking makes nothing."""
    readme = Path(spool.schedule_path("README.txt"))
    readme.unlink()
    readme.parent.rmdir()
    assert queuectl("schedule", "list").out == ""
    assert queuectl("status").out
    assert not readme.parent.exists()
    queuectl("init", spool.root)
    assert readme.exists()


def test_why_knows_schedules(queuectl: Commands, spool: SpoolDir) -> None:
    """`why NAME` says when a schedule makes its next job, or why it makes none, and what changes that."""
    queuectl("schedule", "add", "a", "--every", "1h", "--", "true")
    rows = queuectl("why", "a").out.splitlines()
    assert rows[0].startswith("schedule\tthe schedule makes its next job at ")
    assert rows[1].startswith("no_workers\t")
    queuectl("schedule", "pause", "a")
    assert queuectl("why", "a").out.splitlines()[0].endswith("\tqueuectl schedule resume a")
    Path(spool.schedule_path("b.json")).write_text('{"command": "true", "every": 0}')
    assert "every: takes whole seconds, at least 1" in queuectl("why", "b").out


def test_check_finds_mistakes_and_notes_that_nobody_needs(queuectl: Commands, spool: SpoolDir) -> None:
    """A file that cannot be a schedule needs a person; a note without its schedule is deleted by a repair."""
    queuectl("schedule", "add", "a", "--every", "1h", "--", "true")
    look(spool)
    old = Path(spool.schedule_path("gone,next=20261125T020000Z.tick"))
    old.write_text("every 60 s, offset 0 s\n")
    assert "no such schedule any more" in queuectl("check", code=None).out
    Path(spool.schedule_path("b.json")).write_text('{"command": "true", "every": 0}')
    done = queuectl("check", "--repair", code=11)
    assert "every: takes whole seconds" in done.out
    assert not old.exists()
    assert len(schedule_files.names(spool)) == 3


def test_doctor_says_which_schedules_make_no_jobs(queuectl: Commands, spool: SpoolDir) -> None:
    """doctor counts the schedules, names their time zones, and warns of mistakes."""
    queuectl("schedule", "add", "a", "--cron", "@daily", "--zone", "UTC", "--", "true")
    lines = {row.split("\t")[1]: row for row in queuectl("doctor", code=None).out.splitlines()}
    assert "ok\tschedules\t1 schedule, in UTC" in lines["schedules"]
    Path(spool.schedule_path("b.json")).write_text('{"command": "true", "every": 0}')
    lines = {row.split("\t")[1]: row for row in queuectl("doctor", code=None).out.splitlines()}
    assert "warn\tschedules\t2 schedules, of which 1 makes no jobs: b" in lines["schedules"]
