"""list, status, show and logs: what they tell of jobs in every state."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from queuectl import __version__ as queuectl_version
from queuectl.api import Spool
from queuectl.cli.commands import top_head
from queuectl.model import settings
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import facts, order, page, status
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lookup import Job
from queuectl.spool.pools import Pool, StopSummary
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk, FakeClock, wait_until, write_drop

FAILED = Outcome("failed", 3, "", 0.5)


@pytest.fixture
def clock() -> Clock:
    """The real clock: the commands look at it too."""
    return Clock()


@pytest.fixture
def busy(spool: SpoolDir, desk: Desk, other_desk: Desk) -> SpoolDir:
    """A spool with a job in every state: done1, dead1, run1 (running), retry1 (waits), next1, high1, and a reject."""
    desk.run(desk.enqueue(id="done1", tags=["x"]), Outcome("succeeded", 0, "", 0.1))
    desk.run(desk.enqueue(id="dead1", max_retries=0), FAILED)
    desk.run(desk.enqueue(id="retry1", backoff_base=1000), FAILED)
    desk.enqueue(id="next1", tags=["x", "y"])
    made_at = desk.clock.now()
    wait_until(lambda: desk.clock.now() > made_at + 0.002)  # events have milliseconds: else both could be as old
    desk.enqueue(id="high1", priority=9)
    other_desk.start(other_desk.enqueue(id="run1", command=["sleep", "9 9"]))
    write_drop(spool, "bad.json", "{", state="rejected")
    Path(spool.reason_path("bad.json")).write_text("bad.json ...\n\nWhy:   it is broken\nTo do: mend it\n")
    return spool


# ---------------------------------------------------------------------------------------------------------------- list


def test_list_shows_states_in_order(queuectl: Commands, busy: SpoolDir) -> None:
    """Running jobs come first, waiting ones in run order, then dead and done ones; columns are tab-separated."""
    rows = queuectl("list").rows
    assert [row[0] for row in rows] == ["run1", "high1", "next1", "retry1", "dead1", "done1"]
    by_id = {row[0]: row for row in rows}
    assert by_id["run1"][1:3] == ["running", "1/4"]
    assert by_id["run1"][5] == "sleep '9 9'"
    assert by_id["next1"][4] == "x,y"
    assert by_id["dead1"][1:3] + by_id["dead1"][6:] == ["dlq", "1/1", "exit 3: 1 attempt, retries used up"]
    assert by_id["done1"][1:3] == ["done", "1/4"]


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("pending", ["high1", "next1", "retry1"]),
        ("processing", ["run1"]),
        ("completed", ["done1"]),
        ("DONE", ["done1"]),
        ("dead", ["dead1"]),
        ("rejected", ["bad.json"]),
    ],
)
def test_list_takes_states_and_their_other_names(queuectl: Commands, busy: SpoolDir, word: str, ids: list[str]) -> None:
    """--state takes the folders' names and the words that other queues use."""
    assert [row[0] for row in queuectl("list", "--state", word).rows] == ids


def test_list_refuses_other_states(queuectl: Commands) -> None:
    """A state that is none is wrong usage, and the hint names those there are."""
    assert "dlq" in queuectl("list", "--state", "asleep", code=2).err


def test_list_finds_tags(queuectl: Commands, busy: SpoolDir) -> None:
    """--tag shows only jobs that carry it."""
    assert [row[0] for row in queuectl("list", "--tag", "x").rows] == ["next1", "done1"]


def test_owner_is_shown_and_found(queuectl: Commands, busy: SpoolDir, desk: Desk) -> None:
    """--owner shows only jobs of that owner; `show` and --json say whose each one is."""
    desk.enqueue(id="hers1", owner="anna", tags=["x"])
    assert [row[0] for row in queuectl("list", "--owner", "anna").rows] == ["hers1"]
    assert [row[0] for row in queuectl("list", "--owner", "anna", "--tag", "y").rows] == []
    owners = {job["id"]: job["owner"] for job in json.loads(queuectl("list", "--json").out)["jobs"]}
    assert (owners["hers1"], owners["next1"]) == ("anna", "")
    assert "owner" in queuectl("show", "hers1").out
    assert queuectl("cancel", "--owner", "anna", "--yes").out.split() == ["hers1"]
    assert [row[0] for row in queuectl("dlq", "list", "--owner", "anna").rows] == ["hers1"]
    assert queuectl("retry", "--owner", "bob", "--yes").out == ""


def test_waiting_jobs_are_listed_in_turns(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """The list shows the order of runs: one job of each owner, then the next."""
    desk.enqueue(id="z", priority=1)
    for job_id, owner in (("a1", "anna"), ("a2", "anna"), ("a3", "anna"), ("b1", "bob"), ("b2", "bob")):
        desk.enqueue(id=job_id, owner=owner)
    assert [row[0] for row in queuectl("list").rows] == ["z", "a1", "b1", "a2", "b2", "a3"]


def test_list_gives_every_state_a_share(queuectl: Commands, busy: SpoolDir) -> None:
    """A short list shows something of each state, and says on stderr what is left."""
    result = queuectl("list", "--limit", "4")
    assert {row[1] for row in result.rows} == {"running", "pending", "dlq", "done"}
    assert "2 pending more" in result.err


def test_list_opens_only_what_it_shows(queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs are done, only those that are listed are opened."""
    for number in range(300):
        write_drop(spool, f"j{number}.json", {"command": "true"}, state="done")
    opened: list[str] = []
    load = Spool.load

    def noted(self: Spool, state: str, name: str) -> Job:
        opened.append(name)
        return load(self, state, name)

    monkeypatch.setattr(Spool, "load", noted)
    result = queuectl("list", "--limit", "7")
    assert len(result.rows) == len(opened) == 7
    assert "293 done more" in result.err


def test_list_shows_the_newest_dead_first(queuectl: Commands, spool: SpoolDir) -> None:
    """Dead jobs are in the order they died, not in that of their names."""
    for number, name in enumerate(("b", "c", "a")):
        path = write_drop(spool, f"{name}.json", {"command": "true"}, state="dlq")
        os.utime(path, (1e9 + number, 1e9 + number))
    assert [row[0] for row in queuectl("list", "--state", "dlq").rows] == ["a", "c", "b"]


def test_list_of_very_many_goes_by_name(queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a bound the newest are those with the last names: generated ids sort by time, and no file is asked."""
    monkeypatch.setattr(order, "STAT_AT_MOST", 2)
    for name in ("a", "b", "c"):
        write_drop(spool, f"{name}.json", {"command": "true"}, state="done")
    assert [row[0] for row in queuectl("list", "--limit", "2").rows] == ["c", "b"]


def test_list_names_files_that_are_no_jobs_yet(queuectl: Commands, spool: SpoolDir) -> None:
    """A file that is still arriving is a note, not a row and not an error."""
    write_drop(spool, "half.json", '{"comm')
    result = queuectl("list")
    assert result.out == ""
    assert "half.json" in result.err


def test_list_as_json(queuectl: Commands, busy: SpoolDir) -> None:
    """--json carries a version and the same jobs."""
    made = queuectl("list", "--json").json
    assert made["version"] == 1
    by_id = {job["id"]: job for job in made["jobs"]}
    assert by_id["run1"]["command"] == ["sleep", "9 9"]
    assert by_id["retry1"]["due_at"].endswith("Z")
    assert queuectl("list", "--state", "rejected", "--json").json["rejected"][0]["why"] == "it is broken"


@pytest.mark.parametrize(
    ("words", "total", "truncated", "rows"),
    [
        ("list", 6, False, 6),
        ("list --limit 4", 6, True, 4),
        ("list --limit 0", 6, False, 6),
        ("list --state pending --limit 2", 3, True, 2),
        ("list --tag x", 2, False, 2),
        ("list --tag x --limit 1", None, True, 1),
        ("dlq list", 1, False, 1),
        ("list --state rejected", 1, False, 1),
    ],
)
def test_json_of_a_list_says_whether_some_are_left_out(
    queuectl: Commands, busy: SpoolDir, words: str, total: int | None, truncated: bool, rows: int
) -> None:
    """A program need not guess that a list is bounded: `total` and `truncated` are in the data."""
    made = queuectl(*words.split(), "--json").json
    listed = made["rejected"] if "rejected" in words else made["jobs"]
    assert (made["total"], made["truncated"], len(listed)) == (total, truncated, rows)


def test_json_of_the_history_says_whether_some_is_left_out(queuectl: Commands, busy: SpoolDir) -> None:
    """The same for events."""
    assert queuectl("history", "--json").json["truncated"] is False
    assert queuectl("history", "--limit", "2", "--json").json["truncated"] is True


# -------------------------------------------------------------------------------------------------------------- status


def test_status_counts_and_advises(queuectl: Commands, busy: SpoolDir) -> None:
    """status says how many jobs are where, what went wrong last, and what to do."""
    text = queuectl("status").out
    for part in ("pending   3", "running   1", "done      1", "dlq       1", "rejected  1", "it is broken"):
        assert part in text
    assert "retry 1 of 3, after exit 3" in text
    assert "dead1" in text
    assert "next: queuectl worker start" in text


def test_status_counts_nothing_as_runnable_that_cannot_run(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """Held, due later, half written, a folder or a pipe with a job's name: none of them could run now (P6)."""
    desk.enqueue(id="fine")
    desk.enqueue(id="later", delay=5000)
    desk.enqueue(id="mine")
    Spool(spool.root).hold("mine")
    write_drop(spool, "half.json", '{"comm')
    write_drop(spool, "lines.jsonl", '{"command": "true"}')
    os.mkdir(spool.path("pending", "folder.json"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(spool.path("pending", "pipe.json"))
    others = 3 if hasattr(os, "mkfifo") else 2  # the folder is no file at all
    for find in (lambda: queuectl("status", "--json").json, lambda: _surveyed(spool)):
        waiting = find()["waiting"]
        kinds = ("ready", "later", "held", "paused", "incomplete")
        assert [waiting[kind] for kind in kinds] == [1, 1, 1, 0, others]
        assert waiting["oldest"]["id"] == "fine"
    assert "1 ready to run" in queuectl("status").out
    pause.pause(spool, "backup", until_at=desk.clock.now() + 7200)
    for find in (lambda: queuectl("status", "--json").json, lambda: _surveyed(spool)):
        found = find()
        assert [found["waiting"][kind] for kind in kinds] == [0, 1, 1, 1, others]
        assert (found["paused"], found["paused_until"][-1]) == ("backup", "Z")


def _surveyed(spool: SpoolDir) -> Any:
    """What status.json would say."""
    return facts.document(_last(Survey(spool, is_full=True).take(Clock().now())), advice=("", ""))


def test_pause_for_a_time_shows_its_end(queuectl: Commands, spool: SpoolDir) -> None:
    """Where the pause is shown, its end is too: pause itself, status, top and the page."""
    until = queuectl("pause", "--reason", "backup", "--for", "2h").out.partition("until ")[2].partition(";")[0]
    assert f"backup (until {until})" in queuectl("status").out
    assert f"backup (until {until})" in queuectl("top").out
    found = _last(Survey(spool, is_full=True).take(Clock().now()))
    lines = top_head.head(found, columns=80, clock="")
    assert any("until " in line.plain and "(backup)" in line.plain for line in lines)
    assert f"start no new jobs until {until[:10]} {until[11:19]} UTC" in page.render(found, advice=("", ""))


def _last(steps: Generator[None, None, Snapshot]) -> Snapshot:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: Snapshot = done.value
            return found


def test_status_json_names_the_lists_that_are_cut(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """A program need not compare rows with counts."""
    assert queuectl("status", "--json").json["truncated"] == []
    for _ in range(6):
        desk.run(desk.enqueue(max_retries=0), FAILED)
    assert queuectl("status", "--json").json["truncated"] == ["failures"]


def test_status_as_json(queuectl: Commands, busy: SpoolDir) -> None:
    """--json has the same facts."""
    made = queuectl("status", "--json").json
    assert made["version"] == 1
    assert made["counts"] == {"pending": 3, "running": 1, "done": 1, "dlq": 1, "rejected": 1}
    assert (made["waiting"]["ready"], made["waiting"]["later"]) == (2, 1)
    assert made["waiting"]["soon"][0]["id"] == "retry1"
    assert made["waiting"]["oldest"]["id"] == "next1"
    assert made["running"][0]["is_alive"] is True
    assert made["failures"][0]["id"] == "dead1"


def test_status_tells_dead_workers(queuectl: Commands, busy: SpoolDir, other_desk: Desk) -> None:
    """A running job whose worker is gone is said to be one."""
    other_desk.die()
    assert "its worker died" in queuectl("status").out


def test_status_shows_live_pools(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """Pools that are alive are named with their workers."""
    pool = Pool(desk.session, count=3, cwd="/")
    pool.enter()
    made = queuectl("status", "--json").json
    assert (made["workers"], made["pools"][0]["pool"]) == (3, pool.name)
    assert f"3 in pool {pool.name}" in queuectl("status").out


def test_status_says_that_pools_differ(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """After an upgrade somebody has to restart the pools that run on."""
    both = [Pool(desk.session, count=1, cwd="/") for _ in range(2)]
    for pool in both:
        pool.enter()
    assert "versions" not in queuectl("status").out
    path = Path(spool.pool_path(both[0].name, "json"))
    path.write_text(path.read_text().replace(f'"version": "{queuectl_version}"', '"version": "0.0.1"'))
    assert f"the pools are of different versions: 0.0.1, {queuectl_version}" in queuectl("status").out
    for pool in both:
        pool.leave(StopSummary([], 0), clean=True)


def test_status_shows_pause_and_foreign_files(queuectl: Commands, spool: SpoolDir) -> None:
    """A paused spool says why, and files of others are mentioned (P11)."""
    Path(spool.paused_path).write_text("backup runs\n")
    write_drop(spool, "notes.txt", "hello")
    result = queuectl("status")
    assert "backup runs" in result.out
    assert "PAUSED" in result.out
    assert "notes.txt" in result.err


def test_advice_of_an_empty_spool_is_to_enqueue(spool: SpoolDir, clock: FakeClock) -> None:
    """An empty spool shows how to add a job."""
    assert status.advise(status.collect(spool, now_at=clock.now())).command.startswith("queuectl enqueue")


def test_oldest_waiting_is_found_among_any_names(spool: SpoolDir, desk: Desk) -> None:
    """Generated ids tell their time; a drop has that of its file."""
    desk.enqueue()
    path = write_drop(spool, "old.json", {"command": "true"})
    os.utime(path, (1e9, 1e9))
    found = status.collect(spool, now_at=desk.clock.now())
    assert (found.oldest_id, found.oldest_since) == ("old", 1e9)


# ---------------------------------------------------------------------------------------------------------------- show


def test_show_tells_the_story(queuectl: Commands, busy: SpoolDir) -> None:
    """It shows every key, every event and the path of the file."""
    text = queuectl("show", "dead1").out
    for part in ("dead1 is dead: exit 3, 1 attempt", "max_retries", "enqueued by enqueue", "attempt 1 started by w1"):
        assert part in text
    assert "attempt 1 failed after 0.500s: exit 3, 1 attempt, retries used up; moved to dlq/" in text
    assert busy.path("dlq", "dead1.json") in text


def test_show_says_that_a_file_was_moved_by_hand(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """A job in done/ that never succeeded is explained; one that a worker put there is not."""
    desk.run(desk.enqueue(id="fine"), Outcome("succeeded", 0))
    desk.run(desk.enqueue(id="dead", max_retries=0), FAILED)
    for job_id in ("fine", "dead"):
        assert "somebody moved" not in queuectl("show", job_id).out
    os.rename(spool.path("dlq", "dead.json"), spool.path("done", "dead.json"))
    assert "then its file was moved to done/ by hand" in queuectl("show", "dead").out


def test_status_says_that_the_settings_changed_since_workers_started(
    queuectl: Commands, spool: SpoolDir, desk: Desk
) -> None:
    """Workers read the settings when they start, or when they are asked to; until then `status` says so."""
    pool = Pool(desk.session._replace(clock=FakeClock(desk.clock.now() - 60)), count=1, cwd="/")
    pool.enter()
    os.utime(spool.settings_path, (1e9, 1e9))
    assert queuectl("status", "--json").json["settings_changed"] is False
    os.utime(spool.settings_path)
    assert queuectl("status", "--json").json["settings_changed"] is True
    assert _surveyed(spool)["settings_changed"] is True
    assert "changed since the workers read them; to apply them: queuectl worker reload" in queuectl("status").out
    now_at = desk.clock.now()
    pool.reloaded(settings.defaults(), ["scan_s"], read_at=now_at + 60)
    assert queuectl("status", "--json").json["settings_changed"] is True, "one waits for the next start"
    pool.reloaded(settings.defaults(), [], read_at=now_at + 60)
    assert queuectl("status", "--json").json["settings_changed"] is False


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jitter = 0\nmax_retries = \n", "(line 2): the value after = is missing"),
        ("max_retries = 'x'\n", "(line 1): max_retries: takes "),
    ],
)
def test_status_says_that_the_settings_keep_workers_from_starting(
    queuectl: Commands, spool: SpoolDir, desk: Desk, text: str, told: str
) -> None:
    """A mistake in queuectl.toml has a line near the top, and the advice is not to start workers, which would fail."""
    desk.enqueue(id="job1")
    assert "next: queuectl worker start" in queuectl("status").out
    Path(spool.settings_path).write_text(text)
    shown = queuectl("status").out
    assert shown.splitlines()[2].startswith(f"settings  queuectl.toml has a mistake {told}")
    assert shown.splitlines()[2].endswith("; workers cannot start")
    assert "worker start" not in shown
    assert queuectl("worker", "start", "--drain", code=None).code != 0


def test_show_tells_of_waiting_and_running(queuectl: Commands, busy: SpoolDir) -> None:
    """A waiting job says until when, a running one by whom."""
    assert "retry1 is waiting, due " in queuectl("show", "retry1").out
    assert "run1 is running: attempt 1 of at most 4, by w2" in queuectl("show", "run1").out
    assert "(started without a shell)" in queuectl("show", "run1").out


def test_show_tells_what_else_may_happen(queuectl: Commands, desk: Desk) -> None:
    """It describes a cancelled job, an abandoned attempt and a stopped one in words, and the next command."""
    name = desk.enqueue(id="a")
    settled = desk.run(name, Outcome("abandoned"))
    settled = desk.run(settled.name, Outcome("released", None, "the worker was stopped", 0.1))
    text = queuectl("show", "a").out
    assert "attempt 1 was abandoned because its worker died; next attempt at once" in text
    assert "attempt 2 was stopped and does not count after 0.100s: the worker was stopped" in text
    assert "queuectl why a" in text
    Spool(desk.spool.root).cancel("a", reason="wrong input")
    text = queuectl("show", "a").out
    assert "a is cancelled after 1 attempt: wrong input\n" in text
    assert "it was cancelled: wrong input; moved to dlq/" in text


def test_show_keeps_unknown_keys(queuectl: Commands, desk: Desk) -> None:
    """Keys that queuectl does not know are shown as they are."""
    desk.enqueue({"id": "a", "ticket": {"no": [1, 2]}})
    assert '{"no": [1, 2]}' in queuectl("show", "a").out


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (127, "command not found"),
        (126, "not executable"),
        (137, "killed (SIGKILL)"),
        (143, "SIGTERM"),
        (0xC0000005, "0xC0000005 (access violation)"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="signals have other names there")
def test_show_puts_exit_codes_into_words(queuectl: Commands, desk: Desk, code: int, words: str) -> None:
    """A known exit code is described in words; Windows' large codes are hexadecimal."""
    desk.run(desk.enqueue(id="a", max_retries=0), Outcome("failed", code, "", 0.1))
    assert words in queuectl("show", "a").out


def test_show_as_json_is_the_record(queuectl: Commands, busy: SpoolDir, desk: Desk) -> None:
    """--json gives the document of the file, with its state and path."""
    made = queuectl("show", "dead1", "--json").json
    assert (made["version"], made["state"], made["path"]) == (1, "dlq", busy.path("dlq", "dead1.json"))
    assert made["job"] == desk.document("dlq", "dead1.json")


def test_show_finds_a_drop_by_its_own_id(queuectl: Commands, spool: SpoolDir) -> None:
    """A drop that no worker has accepted has its file's name; its id finds it."""
    write_drop(spool, "x.json", {"id": "mine", "command": "true"})
    assert "mine is waiting" in queuectl("show", "mine").out


@pytest.mark.parametrize("command", ["show", "logs"])
def test_unknown_job_exits_3(queuectl: Commands, command: str) -> None:
    """An id that no file has exits 3."""
    assert "queuectl list" in queuectl(command, "nobody", code=3).err


# ---------------------------------------------------------------------------------------------------------------- logs


@pytest.fixture
def logged(spool: SpoolDir, desk: Desk) -> SpoolDir:
    """A job with two runs, each with a log."""
    name = desk.enqueue(id="a", max_retries=1, backoff_base=0)
    for attempt in (1, 2):
        desk.run(name, FAILED)
        Path(spool.log_path("a", attempt)).write_bytes(b"".join(b"%d:%d\n" % (attempt, row) for row in range(5)))
    return spool


def test_logs_prints_the_newest_run(queuectl: Commands, logged: SpoolDir) -> None:
    """Without --attempt it is the last run, byte for byte."""
    assert queuectl("logs", "a").out == "2:0\n2:1\n2:2\n2:3\n2:4\n"
    assert queuectl("logs", "a", "--attempt", "1").out.startswith("1:0\n")


@pytest.mark.parametrize(("lines", "expected"), [("2", "2:3\n2:4\n"), ("9", "2:0\n2:1\n2:2\n2:3\n2:4\n"), ("0", "")])
def test_logs_prints_the_last_lines(queuectl: Commands, logged: SpoolDir, lines: str, expected: str) -> None:
    """-n N prints the last N lines."""
    assert queuectl("logs", "a", "-n", lines).out == expected


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_logs_finds_the_last_lines_of_a_large_file(queuectl: Commands, logged: SpoolDir, end: bytes) -> None:
    """The end is found from behind, across blocks and with or without a last line break."""
    rows = [b"%06d" % number + b"x" * (number % 90) for number in range(5000)]
    Path(logged.log_path("a", 2)).write_bytes(b"\n".join(rows) + end)
    out = queuectl("logs", "a", "-n", "3000").out
    assert out.encode() == b"\n".join(rows[-3000:]) + end


def test_logs_are_raw_in_a_pipe_and_safe_on_a_terminal(queuectl: Commands, logged: SpoolDir) -> None:
    """A pipe gets the bytes; a terminal nothing that acts on it."""
    Path(logged.log_path("a", 2)).write_bytes(b"\x1b[2J\tok \xe2\x82\xac\r\n")
    assert queuectl("logs", "a").out == "\x1b[2J\tok €\r\n"
    queuectl.on_terminal = True
    assert queuectl("logs", "a").out == "\\x1b[2J\tok €\n"


def test_logs_of_a_silent_run_is_a_message(queuectl: Commands, busy: SpoolDir) -> None:
    """A run that printed nothing is no error."""
    result = queuectl("logs", "dead1")
    assert (result.out, result.err) == ("", "attempt 1 of dead1 printed nothing\n")
    assert "has not started yet" in queuectl("logs", "next1").err


def test_logs_of_a_running_job_show_the_output_so_far(queuectl: Commands, busy: SpoolDir, other_desk: Desk) -> None:
    """What a running command has printed can be read meanwhile."""
    assert "so far" in queuectl("logs", "run1").err
    Path(busy.output_path(other_desk.lease.name)).write_bytes(b"half way\n")
    assert queuectl("logs", "run1").out == "half way\n"


def test_logs_of_a_run_that_never_was(queuectl: Commands, logged: SpoolDir) -> None:
    """--attempt with a number that never ran fails and says so."""
    assert "no attempt 9" in queuectl("logs", "a", "--attempt", "9", code=1).err


def test_status_shows_what_arrives_and_what_is_left_alone(queuectl: Commands, spool: SpoolDir) -> None:
    """An incomplete file has its size and quiet time; copies are counted, and named with --verbose (P6, P11)."""
    copies = [f"job (conflicted copy {number}).json" for number in range(5)]
    for name in (*copies, "notes.txt"):
        write_drop(spool, name, '{"command": "true"}')
    write_drop(spool, "half.json", '{"command": "tr')
    result, full = queuectl("status"), queuectl("status", "-v")
    assert "half.json  15 bytes, last change" in result.out
    assert (
        "contains 6 foreign files, which queuectl ignores (5 with names of unfinished or conflicting copies)"
        in result.err
    )
    assert not all(name in result.err for name in copies)
    assert all(name in full.err for name in copies)
    made = queuectl("status", "--json").json
    assert made["copies"] == {"pending": copies}
    (row,) = made["arriving"]
    assert (row["name"], row["size"]) == ("half.json", 15)
    assert 0 <= row["quiet_s"] < 3600
    assert "unfinished or conflicting" in queuectl("why", copies[0]).out
    assert "ends in .json" in queuectl("why", "notes.txt").out


def test_two_files_of_one_id_are_told_apart(queuectl: Commands, desk: Desk) -> None:
    """P7: a copy in pending/ of a finished job: list has both, show and why name the other, FOLDER/NAME means one."""
    desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0))
    Path(desk.spool.log_path("job1", 1)).write_text("printed\n")
    data = Path(desk.spool.path("done", "job1.json")).read_bytes()
    write_drop(desk.spool, "job1.json", data)
    assert [row[:2] for row in queuectl("list").rows] == [["job1", "pending"], ["job1", "done"]]
    told = queuectl("show", "job1").out
    assert told.startswith("job1 is waiting")
    assert "another file has this id: done/job1.json; queuectl show done/job1\n" in told
    for typed in ("done/job1", "done/job1.json"):
        told = queuectl("show", typed).out
        assert told.startswith("job1 is done")
        assert "another file has this id: pending/job1.json; queuectl show pending/job1\n" in told
    assert queuectl("show", "done/job1", "--json").json["state"] == "done"
    assert "it succeeded" in queuectl("why", "done/job1").out
    assert "gets a new id when a worker takes it" in queuectl("why", "pending/job1").out
    assert queuectl("logs", "done/job1").out == "printed\n"
    for typed in ("done/../done/job1", "logs/job1", "done/", "../x", "pending/nobody"):
        queuectl("show", typed, code=3)
    desk.run("job1.json", Outcome("succeeded", 0))
    assert len({row[0] for row in queuectl("list").rows}) == 2
    assert "another file" not in queuectl("show", "job1").out


def test_status_begins_with_a_sentence(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """The first line answers how the queue is doing, and status.json has the same words."""
    desk.enqueue(id="job")
    first = queuectl("status").out.splitlines()[0]
    assert first.startswith("No workers are running, 1 waiting")
    assert queuectl("status", "--json").json["headline"].startswith("No workers are running, 1 waiting")


def test_order_shown_goes_by_the_queues(queuectl: Commands, spool: SpoolDir) -> None:
    """`list` and the page take the weights and pauses of queues into account, and `why` counts by the same order."""
    queuectl("config", "set", "queues.mail.weight", "2")
    for number in range(4):
        queuectl("enqueue", "--id", f"m{number}", "--queue", "mail", "--command", "true")
    for number in range(3):
        queuectl("enqueue", "--id", f"d{number}", "--command", "true")

    def orders() -> list[list[str]]:
        listed = [row["id"] for row in queuectl("list", "--json").json["jobs"]]
        made = Survey(SpoolDir.open(spool.root), is_full=True, next_rows=60)
        return [listed, [row.id for row in drain(made.take(time.time())).nexts]]

    assert orders() == [["m0", "m1", "d0", "m2", "m3", "d1", "d2"]] * 2
    assert "waits behind 3 jobs" in queuectl("why", "m2").out
    queuectl("pause", "mail")
    assert orders() == [["d0", "d1", "d2", "m0", "m1", "m2", "m3"]] * 2
    assert "waits behind 1 job;" in queuectl("why", "d1").out


def test_queue_list_keeps_the_state_on_a_narrow_terminal(
    queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds a queue up is worth more than its weight; columns without a value are left out."""
    monkeypatch.setenv("COLUMNS", "80")
    queuectl("config", "set", "queues.mail.slots", "2")
    queuectl("pause", "mail", "--reason", "the printer is moved", "--for", "5m")
    in_a_pipe = queuectl("queue", "list").out.splitlines()
    assert in_a_pipe[1].startswith("mail\t0\t0\t2\t1\t-\t-\t1\tpaused: the printer is moved until ")
    queuectl.on_terminal = True
    heading, _, mail = queuectl("queue", "list").out.splitlines()
    assert "NOTE" in heading and "RATE" not in heading
    assert "paused: the printer is" in mail


def test_queue_show_names_who_takes_it(queuectl: Commands, desk: Desk) -> None:
    """The pools that do, or that none runs; jobs that wait for others count in no queue, as in `status`."""
    queuectl("enqueue", "--id", "first", "--queue", "mail", "--command", "true")
    queuectl("enqueue", "--id", "second", "--queue", "mail", "--after", "first", "--command", "true")
    shown = queuectl("queue", "show", "mail").out
    assert "  waiting  1\n" in shown and "taken by no workers, because none are running" in shown
    listed = queuectl("queue", "list", "--json").json["queues"]
    assert [(row["queue"], row["waiting"]) for row in listed] == [("default", 0), ("mail", 1)]
    assert queuectl("status", "--json").json["queues"][0]["waiting"] == 0
    pool = Pool(desk.session, count=3, cwd="/", queues=("mail",))
    pool.enter()
    assert f"taken by {pool.name} (3 slots)" in queuectl("queue", "show", "mail").out
    assert queuectl("queue", "show", "mail", "--json").json["pools"] == [pool.name]
    shown = queuectl("queue", "show", "default").out
    assert "taken by" not in shown and "no workers take it" in shown
