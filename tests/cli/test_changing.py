"""dlq and config: what they change, and what they do not."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk, listing, set_monotonic, wait_until

FAILED = Outcome("failed", 3, "", 0.5)


@pytest.fixture
def clock() -> Clock:
    """The real clock: the commands look at it too."""
    return Clock()


@pytest.fixture
def dead(spool: SpoolDir, desk: Desk) -> SpoolDir:
    """A spool with two dead jobs, a and b, the first with a log, and one finished job."""
    for name in ("a", "b"):
        desk.run(desk.enqueue(id=name, max_retries=0), FAILED)
    desk.run(desk.enqueue(id="fine"), Outcome("succeeded", 0, "", 0.1))
    Path(spool.log_path("a", 1)).write_text("oh\n")
    return spool


def test_dlq_list_shows_dead_jobs(queuectl: Commands, dead: SpoolDir) -> None:
    """dlq list shows the dead jobs and only them."""
    assert sorted(row[0] for row in queuectl("dlq", "list").rows) == ["a", "b"]
    assert len(queuectl("dlq", "list", "--json").json["jobs"]) == 2


def test_retry_puts_a_job_back(queuectl: Commands, dead: SpoolDir, desk: Desk) -> None:
    """A retried job waits again, with its history and fresh retries."""
    assert queuectl("dlq", "retry", "a").out == "a\n"
    assert listing(dead)["pending"] == ["a.json"]
    assert desk.events("pending", "a.json") == ["enqueued", "started", "failed", "requeued"]


def test_retry_all_puts_all_back(queuectl: Commands, dead: SpoolDir) -> None:
    """--all retries every dead job, and asks first as all commands do that choose themselves."""
    assert "retry 2 jobs?" in queuectl("dlq", "retry", "--all", code=2).err
    queuectl("dlq", "retry", "--all", "--yes")
    assert listing(dead)["pending"] == ["a.json", "b.json"]
    assert "no jobs match" in queuectl("dlq", "retry", "--all").err


def test_retry_goes_on_after_a_failure(queuectl: Commands, dead: SpoolDir) -> None:
    """The other jobs are retried despite an unknown id; the exit code reports it."""
    result = queuectl("dlq", "retry", "nobody", "b", code=3)
    assert result.out == "b\n"
    assert "nobody" in result.err


def test_retry_leaves_finished_jobs(queuectl: Commands, dead: SpoolDir) -> None:
    """A job that is done is not dead: it is not run twice by mistake."""
    assert "done/" in queuectl("dlq", "retry", "fine", code=1).err
    assert listing(dead)["done"] == ["fine.json"]


@pytest.mark.parametrize("command", ["retry", "purge"])
@pytest.mark.parametrize("words", [[], ["a", "--all"]])
def test_unclear_which_jobs_is_wrong_usage(queuectl: Commands, dead: SpoolDir, command: str, words: list[str]) -> None:
    """Neither ids nor --all, or both, means nothing."""
    queuectl("dlq", command, *words, code=2)
    assert len(listing(dead)["dlq"]) == 2


def test_purge_needs_yes_in_a_script(queuectl: Commands, dead: SpoolDir) -> None:
    """Without a terminal to ask on, nothing is deleted without --yes."""
    assert "--yes" in queuectl("dlq", "purge", "--all", code=2).err
    assert len(listing(dead)["dlq"]) == 2


def test_purge_deletes_jobs_and_logs(queuectl: Commands, dead: SpoolDir) -> None:
    """A purged job is gone with what it printed; others stay."""
    assert queuectl("dlq", "purge", "a", "--yes").out == "a\n"
    assert listing(dead)["dlq"] == ["b.json"]
    assert os.listdir(dead.folder("logs")) == []


def test_purge_dry_run_deletes_nothing(queuectl: Commands, dead: SpoolDir) -> None:
    """--dry-run only says which."""
    assert sorted(queuectl("dlq", "purge", "--all", "--dry-run").out.split()) == ["a", "b"]
    assert len(listing(dead)["dlq"]) == 2


def test_purge_by_age(queuectl: Commands, dead: SpoolDir) -> None:
    """--older-than spares what died since."""
    assert "no jobs match" in queuectl("dlq", "purge", "--older-than", "1h", "--yes").err
    assert len(listing(dead)["dlq"]) == 2
    queuectl("dlq", "purge", "--older-than", "soon", code=2)
    wait_until(lambda: queuectl("dlq", "purge", "--older-than", "0s", "--yes").out)
    assert "dlq" not in listing(dead)


def test_purge_refuses_other_states(queuectl: Commands, dead: SpoolDir) -> None:
    """Only dead jobs are purged here."""
    queuectl("dlq", "purge", "fine", "--yes", code=1)
    queuectl("dlq", "purge", "nobody", "--yes", code=3)
    assert listing(dead)["done"] == ["fine.json"]


@pytest.mark.parametrize(
    "command", [["cancel"], ["retry"], ["purge"], ["hold"], ["release"], ["dlq", "retry"], ["dlq", "purge"]]
)
def test_all_that_change_jobs_choose_them_alike(queuectl: Commands, dead: SpoolDir, command: list[str]) -> None:
    """The same filters everywhere, by the same meaning; --dry-run says which and how many and changes nothing."""
    waits = command[0] in ("cancel", "hold", "release")
    if waits:
        queuectl("retry", "a", "b", "--yes")
    if command == ["release"]:
        queuectl("hold", "a", "b")
    before = listing(dead)
    words = ["--match", "a", "--since", "1h", "--exit-code", "3", "--dry-run"]
    result = queuectl(*command, *words)
    assert (result.out, "1 job" in result.err) == ("a\n", True)
    assert queuectl(*command, "--exit-code", "4", "--all", "--dry-run").out == ""
    assert queuectl(*command, "--older-than", "1h", "--yes").out == ""
    assert queuectl(*command, "--tag", "no", "--yes").out == ""
    queuectl(*command, "--since", "soon", code=2)
    assert listing(dead) == before
    assert sorted(queuectl(*command, "--all", "--exit-code", "3", "--yes").out.split()) == ["a", "b"]


def test_a_state_is_one_that_the_command_takes(queuectl: Commands, dead: SpoolDir) -> None:
    """--state accepts a state's other names; an error for another word names the accepted states."""
    assert queuectl("retry", "--state", "completed", "--dry-run").out == "fine\n"
    assert queuectl("purge", "--state", "dead", "--match", "b", "--dry-run").out == "b\n"
    assert "pending or running" in queuectl("cancel", "--state", "dlq", code=2).err
    assert "dlq or done" in queuectl("retry", "--state", "pending", code=2).err


def test_many_are_counted_and_not_named_on_a_terminal(
    queuectl: Commands, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal shows the progress in one changing line; a pipe gets the bare ids, and stderr a line every 10 s."""
    for number in range(30):
        desk.enqueue(id=f"job{number:02}")
    passed = itertools.count()
    set_monotonic(monkeypatch, lambda: next(passed) * 3.0)
    told = queuectl("hold", "--all", "--yes").err
    assert re.search(r"^read \d+ jobs, \d+ selected$", told, re.MULTILINE)
    assert re.search(r"^\d+ of 30 jobs$", told, re.MULTILINE) and told.endswith("\nheld all 30 jobs\n")
    queuectl.on_terminal = True
    result = queuectl("release", "--all", "--yes")
    assert result.out == "" and re.search(r"\r\d+ of 30 jobs", result.err)
    assert result.err.endswith("\rreleased all 30 jobs\n")


# -------------------------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize("key", ["max-retries", "max_retries", "MAX_RETRIES"])
def test_config_takes_dash_and_underscore(queuectl: Commands, key: str) -> None:
    """A key may be typed either way; get prints the bare value."""
    assert queuectl("config", "get", key).out == "3\n"
    queuectl("config", "set", key, "5")
    assert queuectl("config", "get", key).out == "5\n"
    queuectl("config", "unset", key)
    assert queuectl("config", "get", key).out == "3\n"


def test_config_set_keeps_comments(queuectl: Commands, spool: SpoolDir) -> None:
    """Comments and other settings survive a change."""
    path = Path(spool.settings_path)
    path.write_text('# mine\nmax_retries = 1  # few\nkeep_done = "7d"\n')
    queuectl("config", "set", "max-retries", "5")
    queuectl("config", "set", "backoff-max", "10m")
    queuectl("config", "unset", "keep-done")
    assert path.read_text() == '# mine\nmax_retries = 5  # few\nbackoff_max = "10m"\n'


def test_config_set_is_obeyed(queuectl: Commands, desk: Desk) -> None:
    """A job that is enqueued after the change has the new value."""
    queuectl("config", "set", "max-retries", "7")
    queuectl("enqueue", "--id", "a", "--command", "true")
    assert desk.document("pending", "a.json")["max_retries"] == 7


@pytest.mark.parametrize(
    ("key", "value"), [("max-retries", "-1"), ("max-retries", "many"), ("durability", "maybe"), ("keep-done", "soon")]
)
def test_config_refuses_bad_values(queuectl: Commands, spool: SpoolDir, key: str, value: str) -> None:
    """A value out of range exits 5, says what is allowed, and changes nothing."""
    before = Path(spool.settings_path).read_text()
    assert "takes" in queuectl("config", "set", key, value, code=5).err
    assert Path(spool.settings_path).read_text() == before


def test_config_names_the_near_key(queuectl: Commands) -> None:
    """An unknown key exits 5 and names the nearest."""
    for words in (["get", "max-retires"], ["set", "max-retires", "5"], ["unset", "max-retires"]):
        assert "max_retries" in queuectl("config", *words, code=5).err


def test_config_list_tells_all(queuectl: Commands) -> None:
    """Every setting comes with value, default, range and meaning."""
    queuectl("config", "set", "keep-done", "7d")
    rows = {row[0]: row[1:] for row in queuectl("config", "list").rows}
    assert rows["keep_done"][:2] == ["7d", "30d"]
    assert all(len(row) == 4 and all(row) for row in rows.values())
    made = queuectl("config", "list", "--json").json
    assert made["version"] == 1
    assert {each["name"] for each in made["settings"]} == set(rows)
    queuectl.on_terminal = True
    assert "(default: 30d)" in queuectl("config", "list").out


def test_config_path_is_told(queuectl: Commands, spool: SpoolDir) -> None:
    """config path prints the file's path and nothing else."""
    assert queuectl("config", "path").out == f"{spool.settings_path}\n"


def test_config_set_mends_a_bad_value(queuectl: Commands, spool: SpoolDir) -> None:
    """A setting that no worker would start on can be put right with the command."""
    Path(spool.settings_path).write_text('max_retries = "many"\n')
    queuectl("status")
    queuectl("enqueue", "--command", "true", code=5)
    queuectl("config", "set", "max-retries", "4")
    assert queuectl("config", "get", "max-retries").out == "4\n"


def test_broken_settings_are_named(queuectl: Commands, spool: SpoolDir) -> None:
    """A file that is no TOML exits 5 where settings count, with its line, and is not touched."""
    Path(spool.settings_path).write_text("max_retries = = 3\n")
    for words in (
        ["worker", "start"],
        ["config", "set", "max-retries", "1"],
        ["config", "list"],
        ["enqueue", "--command", "true"],
    ):
        assert "line 1" in queuectl(*words, code=5).err
    assert Path(spool.settings_path).read_text() == "max_retries = = 3\n"


@pytest.mark.parametrize("text", ["max_retries = = 3\n", 'max_retries = "many"\n'])
def test_broken_settings_keep_nobody_from_looking_and_stopping(queuectl: Commands, spool: SpoolDir, text: str) -> None:
    """Commands that look or stop work with broken settings: they say that the defaults count."""
    queuectl("enqueue", "--id", "job1", "--command", "true")
    queuectl("enqueue", "--id", "job2", "--command", "true")
    Path(spool.settings_path).write_text(text)
    for words in (
        ["list"],
        ["show", "job1"],
        ["why", "job1"],
        ["pause"],
        ["resume"],
        ["worker", "list"],
        ["hold", "job1"],
        ["release", "job1"],
        ["cancel", "job1"],
        ["dlq", "list"],
        ["retry", "job1"],
    ):
        result = queuectl(*words)
        assert "queuectl.toml" in result.err, words
        assert "uses the default settings" in result.err, words
    for words in (["status"], ["worker", "stop"]):
        queuectl(*words)
    assert Path(spool.settings_path).read_text() == text


def test_pause_and_resume_say_what_is_wrong_with_a_folder(queuectl: Commands, spool: SpoolDir) -> None:
    """A folder with the name PAUSED pauses the spool; both commands say so, and leave it and tmp/ alone (P11)."""
    Path(spool.paused_path).mkdir()
    assert "a folder named PAUSED already pauses the spool" in queuectl("pause", code=75).err
    result = queuectl("resume", code=75)
    assert "stays paused because of a folder" in result.err
    assert f"hint: move that folder away: {spool.paused_path}" in result.err
    assert os.listdir(spool.tmp_dir) == []
    assert "PAUSED exists" in queuectl("status").out
