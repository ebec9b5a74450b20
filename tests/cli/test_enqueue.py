"""enqueue: every way to give a job, and a clear answer to everything that is none."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.cli import sources
from queuectl.model import job, times
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.spool.pools import Pool, StopSummary
from tests.cli.commands import Commands, Result, run
from tests.helpers import Desk, names_in


def spec(spool: SpoolDir, result: Result) -> dict[str, Any]:
    """The specification of the one job whose id a command printed."""
    return Spool(spool.root).get(result.out.strip()).spec


def test_inline_json_is_enqueued(queuectl: Commands, spool: SpoolDir) -> None:
    """A JSON object as an argument becomes a job, and a pipe gets the bare id."""
    result = queuectl("enqueue", '{"id": "job1", "command": "echo hi", "note": 1}')
    assert (result.out, result.err) == ("job1\n", "no workers are running; to start some: queuectl worker start\n")
    assert spec(spool, result)["note"] == 1


def test_what_leaves_jobs_waiting_says_when_no_workers_run(queuectl: Commands, spool: SpoolDir, desk: Desk) -> None:
    """stderr says at once that no workers are running, and only then: also while `drain` waits for nobody."""
    for number in range(3):
        os.rename(spool.path("pending", desk.enqueue(id=f"dead{number}")), spool.path("dlq", f"dead{number}.json"))
    pause.pause(spool, "", until_at=None)

    def told(number: int) -> list[str]:
        words = (("enqueue", "--command", "true"), ("resume",), ("retry", f"dead{number}"))
        results = [queuectl(*each) for each in words] + [queuectl("drain", "--timeout", "0.001s", code=124)]
        assert not any("no workers are running" in result.out for result in results)
        return [result.err for result in results]

    for number, on_terminal in enumerate((False, True)):
        queuectl.on_terminal = on_terminal
        assert all("no workers are running; to start some: queuectl worker start\n" in err for err in told(number))
    pool = Pool(desk.session, count=1, cwd="/")
    pool.enter()
    *others, drain = told(2)
    assert others == [""] * 3 and "no workers" not in drain
    pool.leave(StopSummary([], 0), clean=True)


class Console(io.BytesIO):
    """Standard input as a console of Windows is: it refuses large reads, and each end of it is typed."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and 0 <= size <= 32 << 20, "ValueError: cannot read more than 33554432 bytes"
        data = super().read(size)
        assert data or self.ended is False, "it would wait for a second Ctrl-Z"
        self.ended = len(data) < size
        return data

    ended = False


@pytest.mark.parametrize("length", [0, 100, 1 << 20, (3 << 20) + 5, 65 << 20])
def test_a_console_is_read_in_parts_and_until_its_first_end(length: int) -> None:
    """All that is typed is read, up to the limit, and nothing is asked for after the end."""
    data = b"x" * length
    assert sources._all_of(Console(data), (64 << 20) + 1) == data[: (64 << 20) + 1]


def test_inline_array_is_many_jobs(queuectl: Commands) -> None:
    """An array is many jobs, whose ids are printed in order, one a line."""
    result = queuectl("enqueue", '[{"id": "a", "command": "true"}, {"id": "b", "command": "true"}]')
    assert result.out == "a\nb\n"


def test_inline_json_records_no_folder(queuectl: Commands, spool: SpoolDir) -> None:
    """JSON runs where the pool was started, unless it says otherwise."""
    assert "cwd" not in spec(spool, queuectl("enqueue", '{"command": "true"}'))


def test_command_records_where_it_was_typed(queuectl: Commands, spool: SpoolDir, home: Path) -> None:
    """--command is one text for the shell, run in the folder it was typed in."""
    made = spec(spool, queuectl("enqueue", "--command", "echo $HOME"))
    assert (made["command"], made["cwd"]) == ("echo $HOME", str(home))


def test_words_after_dashes_are_kept_as_they_are(queuectl: Commands, spool: SpoolDir, home: Path) -> None:
    """What follows -- is a list that no shell sees, options included."""
    made = spec(spool, queuectl("enqueue", "--max-retries", "1", "--", "python", "-c", "print(1)", "--id", "a b"))
    assert made["command"] == ["python", "-c", "print(1)", "--id", "a b"]
    assert (made["max_retries"], made["cwd"]) == (1, str(home))


def test_second_dashes_belong_to_the_command(queuectl: Commands, spool: SpoolDir) -> None:
    """Only the first -- is ours."""
    assert spec(spool, queuectl("enqueue", "--", "git", "log", "--", "x"))["command"] == ["git", "log", "--", "x"]


@pytest.mark.parametrize("name", ["job.json", "job.txt", "job"])
def test_file_is_read(queuectl: Commands, home: Path, name: str) -> None:
    """An argument that is a file is read, whatever its name ends in."""
    (home / name).write_bytes(b'\xef\xbb\xbf{"id": "x", "command": "true"}')
    assert queuectl("enqueue", name).out == "x\n"


def test_several_files_are_read(queuectl: Commands, home: Path) -> None:
    """Several files, as a shell makes of *.json, are all enqueued."""
    for name in ("a", "b"):
        (home / f"{name}.json").write_text(json.dumps({"id": name, "command": "true"}))
    assert queuectl("enqueue", "a.json", "b.json").out == "a\nb\n"


def test_lines_file_is_many_jobs(queuectl: Commands, home: Path) -> None:
    """A .jsonl file holds one job a line, blank ones left out."""
    (home / "jobs.jsonl").write_text('{"id": "a", "command": "true"}\n\n{"id": "b", "command": "true"}\n')
    assert queuectl("enqueue", "jobs.jsonl").out == "a\nb\n"


@pytest.mark.parametrize(
    "data",
    [
        '{"id": "a", "command": "true"}',
        '[\n{"id": "a", "command": "true"}\n]',
        '{"id": "a", "command": "true"}\n',
        '{\n "id": "a",\n "command": "true"\n}\n',
        '\ufeff{"id": "a", "command": "true"}',
    ],
)
def test_standard_input_is_read(queuectl: Commands, data: str) -> None:
    """- reads an object or an array, in one line or many."""
    assert queuectl("enqueue", "-", stdin=data).out == "a\n"


def test_standard_input_takes_json_lines(queuectl: Commands) -> None:
    """- reads one job a line."""
    lines = "".join(json.dumps({"id": f"j{n}", "command": "true"}) + "\n" for n in range(3))
    assert queuectl("enqueue", "-", stdin=lines).out == "j0\nj1\nj2\n"


def test_options_win_over_json(queuectl: Commands, spool: SpoolDir, home: Path) -> None:
    """What is typed as an option counts more than the same key in JSON; variables and tags are added."""
    text = '{"command": "true", "id": "a", "max_retries": 9, "delay": "1h", "env": {"A": "1", "B": "2"}, "tags": ["x"]}'
    options = ["--id", "b", "--max-retries", "1", "--backoff-base", "1.5", "--backoff-max", "10m", "--timeout", "5m"]
    options += ["--priority", "-3", "--at", "2999-01-01T00:00:00Z", "--cwd", ".", "--env", "B=3=4", "--tag", "y"]
    options += ["--owner", "anna"]
    made = spec(spool, queuectl("enqueue", text, *options))
    assert made == {
        "id": "b",
        "command": "true",
        "max_retries": 1,
        "backoff_base": 1.5,
        "backoff_max": 600,
        "timeout": 300,
        "priority": -3,
        "run_at": "2999-01-01T00:00:00.000Z",
        "cwd": str(home),
        "env": {"A": "1", "B": "3=4"},
        "tags": ["x", "y"],
        "owner": "anna",
    }


def test_delay_replaces_run_at(queuectl: Commands, spool: SpoolDir) -> None:
    """--delay takes the place of a run_at in JSON, with which it would contradict."""
    result = queuectl("enqueue", '{"command": "true", "run_at": "2999-01-01T00:00:00Z"}', "--delay", "1h")
    due_at = Spool(spool.root).get(result.out.strip()).due_at
    assert due_at is not None and 3500 < due_at - time.time() < 3700


@pytest.mark.parametrize("text", ["2026-11-24 03:15", "2026-11-24T03:15", "2026-11-24 03:15:00"])
def test_local_time_is_taken(text: str) -> None:
    """--at without a zone is local time."""
    local = datetime(2026, 11, 24, 3, 15).timestamp()
    assert sources.instant(text) == times.to_text(local)


def test_time_of_day_is_the_next_one() -> None:
    """--at 03:15 is the next time that a local clock shows it."""
    at = times.from_text(sources.instant("03:15"))
    assert 0 < at - time.time() <= 25 * 3600
    assert time.strftime("%H:%M", time.localtime(at)) == "03:15"


@pytest.mark.parametrize("text", ["soon", "25:00", "2026-13-01 00:00", "1066-10-14 09:00", ""])
def test_time_that_is_none_is_wrong_usage(queuectl: Commands, text: str) -> None:
    """--at with something else is a wrong command line, and shows how to write it."""
    assert "03:15" in queuectl("enqueue", "--at", text, "--command", "true", code=2).err


@pytest.mark.parametrize(
    ("text", "place"),
    [("{id:job1}", "line 1 column 2"), ('{"command": "a"', "line 1 column 16"), ("[{]", "line 1 column 3")],
)
def test_broken_json_shows_where(queuectl: Commands, spool: SpoolDir, text: str, place: str) -> None:
    """JSON that does not parse is invalid: position, the text around it, and, where a shell took the quotes, the ways
    without them.
    """
    result = queuectl("enqueue", text, code=5)
    assert place in result.err
    assert text in result.err
    assert "^ here" in result.err
    for way in ("job.json", "enqueue -", "--command", "enqueue --"):
        assert (way in result.err) == ('"' not in text)
    assert names_in(spool, "pending") == []


def test_json_torn_apart_by_a_shell_is_shown_whole(queuectl: Commands) -> None:
    """PowerShell takes the quotes and makes several words of it; the error shows them together."""
    assert "{command: echo hi}" in queuectl("enqueue", "{command:", "echo", "hi}", code=5).err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"command": "a", "command": "b"}', "twice"),
        ('{"command": "a", "x": NaN}', "NaN"),
        ('["a"]', "a text"),
        ("[]", "empty array"),
        ('{"comand": "a"}', "did you mean"),
        ('{"command": ""}', "command"),
        ('{"command": "a", "id": "../x"}', "id"),
        ('{"command": "a", "id": "con"}', "device"),
        ('{"command": "a", "max_retries": -1}', "max_retries"),
        ('{"command": "a", "timeout": "soon"}', "timeout"),
    ],
)
def test_invalid_job_is_refused(queuectl: Commands, spool: SpoolDir, text: str, why: str) -> None:
    """A document that parses but is not a job exits 5 and names the mistake."""
    assert why in queuectl("enqueue", text, code=5).err
    assert names_in(spool, "pending") == []


def test_one_bad_job_of_many_refuses_all(queuectl: Commands, spool: SpoolDir) -> None:
    """Nothing of a batch is enqueued if one document is not a job; the error names it."""
    assert "job 2" in queuectl("enqueue", '[{"command": "a"}, {"command": 3}]', code=5).err
    assert names_in(spool, "pending") == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["resize"],
        ["python", "x.py"],
        ["missing.json"],
        ["."],
        ["--"],
        ["--command", "a", "--", "b"],
        ["--command", "a", '{"command": "b"}'],
        ["--env", "A", "--command", "a"],
        ["--delay", "1s", "--at", "03:15", "--command", "a"],
        ["--id", "x", '[{"command": "a"}, {"command": "b"}]'],
        ["--max-retries", "many", "--command", "a"],
        ["python", "-c", "print(1)"],
    ],
)
def test_wrong_usage_exits_2_with_a_hint(queuectl: Commands, spool: SpoolDir, words: list[str]) -> None:
    """A wrong value is a usage error that names the allowed values."""
    result = queuectl("enqueue", *words, code=2)
    assert result.err.startswith("error: ")
    assert "hint: " in result.err
    assert names_in(spool, "pending") == []


@pytest.mark.parametrize("words", [["resize"], ["python", "-c", "print(1)"]])
def test_plain_words_are_told_about_dashes(queuectl: Commands, words: list[str]) -> None:
    """Whoever forgets -- is shown where it goes."""
    assert "enqueue -- python" in queuectl("enqueue", *words, code=2).err


def test_duplicate_id_names_its_state(queuectl: Commands) -> None:
    """An id that is taken exits 5 and names the other job's file (P7)."""
    queuectl("enqueue", "--id", "a", "--command", "true")
    assert "pending/" in queuectl("enqueue", "--id", "A", "--command", "true", code=5).err


@pytest.mark.parametrize("state", ["pending", "done", "dlq"])
def test_a_taken_id_of_an_ended_job_can_run_again(queuectl: Commands, spool: SpoolDir, desk: Desk, state: str) -> None:
    """The hint also names the command that runs the existing job again, if it has ended."""
    name = desk.enqueue(id="hello", command="true")
    if state != "pending":
        os.rename(spool.path("pending", name), spool.path(state, "hello.json"))
    error = queuectl("enqueue", "--id", "hello", "--command", "true", code=5).err
    assert f"in {state}/" in error and "omit the id to get a new one" in error
    assert ("or run it again: queuectl retry hello" in error) == (state != "pending")


def test_near_miss_of_a_key_is_a_warning(queuectl: Commands) -> None:
    """stderr warns about a key that resembles a known one; the job is accepted."""
    result = queuectl("enqueue", '{"id": "a", "command": "true", "max_retires": 3}')
    assert result.out == "a\n"
    assert "did you mean 'max_retries'" in result.err


def test_terminal_gets_a_sentence(queuectl: Commands) -> None:
    """A person reads that it worked, not a bare id."""
    queuectl.on_terminal = True
    assert queuectl("enqueue", "--id", "a", "--command", "true").out == "enqueued a\n"


@pytest.mark.skipif(os.name == "nt", reason="on Windows the folder's ACL decides")
def test_spool_that_others_can_write_to_is_refused(queuectl: Commands, spool: SpoolDir) -> None:
    """Enqueueing where everybody may write would run everybody's commands (P10)."""
    os.chmod(spool.folder("pending"), 0o777)
    result = queuectl("enqueue", "--command", "true", code=1)
    assert "chmod" in result.err
    assert names_in(spool, "pending") == []


def test_no_spool_is_unavailable(queuectl: Commands, tmp_path: Path) -> None:
    """A folder that is no spool exits 75 and names `queuectl init`."""
    assert "queuectl init" in queuectl("enqueue", "--spool", str(tmp_path), "--command", "true", code=75).err


def test_full_disk_is_unavailable(queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes no more exits 75 and says so (P9)."""
    import errno

    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), spool.root)

    monkeypatch.setattr("queuectl.system.disk.create", full)
    assert "free some space" in queuectl("enqueue", "--command", "true", code=75).err


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_spool_without_permission_is_unavailable(queuectl: Commands, spool: SpoolDir) -> None:
    """A spool that may not be written to exits 75."""
    os.chmod(spool.tmp_dir, 0o500)
    try:
        assert "permissions" in queuectl("enqueue", "--command", "true", code=75).err
    finally:
        os.chmod(spool.tmp_dir, 0o755)


@pytest.mark.skipif(os.name == "nt", reason="arguments are UTF-16 there")
def test_argument_that_is_no_text_is_refused(spool: SpoolDir) -> None:
    """Bytes that are no UTF-8 cannot stand in JSON: invalid, not a crash."""
    import subprocess

    argv: list[Any] = [sys.executable, "-m", "queuectl", "--spool", spool.root, "enqueue", "--", "echo", b"\xff"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 5, done
    assert b"Traceback" not in done.stderr


def test_ids_come_back_through_a_pipe(spool: SpoolDir) -> None:
    """`id=$(queuectl enqueue ...)` holds the id and nothing else."""
    job_id = run("--spool", spool.root, "enqueue", "--", sys.executable, "-c", "").out
    assert Spool(spool.root).get(job_id.rstrip("\n")).state == "pending"


def test_every_key_of_a_job_has_an_option(queuectl: Commands, spool: SpoolDir) -> None:
    """Whatever a file can say can be typed: each option writes its key."""
    typed = {
        "id": ["--id", "all"], "max_retries": ["--max-retries", "5"], "backoff_base": ["--backoff-base", "3"],
        "backoff_max": ["--backoff-max", "1m"], "jitter": ["--jitter", "0.5"], "timeout": ["--timeout", "5m"],
        "priority": ["--priority", "9"], "run_at": ["--at", "2999-01-01T00:00:00Z"], "cwd": ["--cwd", "/"],
        "env": ["--env", "A=1"], "tags": ["--tag", "x"], "owner": ["--owner", "anna"],
        "no_retry_exit_codes": ["--no-retry-on", "2", "--no-retry-on", "3"], "minimal_env": ["--minimal-env"],
        "output_max": ["--output-max", "1K"], "meta": ["--meta", "customer=4711", "--meta", "note=a=b"],
    }  # fmt: skip
    made = spec(spool, queuectl("enqueue", *(word for words in typed.values() for word in words), "--", "true"))
    assert made["no_retry_exit_codes"] == [2, 3] and made["minimal_env"] is True and made["output_max"] == 1024
    assert made["meta"] == {"customer": "4711", "note": "a=b"}
    assert (made["jitter"], made["priority"], made["timeout"]) == (0.5, 9, 300)
    later = [
        "--queue",
        "mail",
        "--key",
        "anna",
        "--stdin",
        "--snooze-on",
        "9",
        "--snooze-max",
        "1d",
        "--give-up-after",
        "2d",
        "--expires",
        "2999-01-01T00:00:00Z",
        "--resource",
        "GPU=2",
        "--unique",
        "k",
        "--unique-until",
        "ended",
        "--unique-for",
        "5m",
        "--replace",
    ]
    other = spec(spool, queuectl("enqueue", "--retry-on", "75", "--delay", "1h", *later, "--", "true"))
    after = ["--after", "x", "--after-end", "y", "--after-dead", "z", "--allow-missing"]
    third = spec(spool, queuectl("enqueue", "--stdin-file", "x", "--expires", "2h", *after, "--", "true"))
    assert third["after"] == ["x", {"id": "y", "when": "ended"}, {"id": "z", "when": "dead"}]
    assert other["retry_exit_codes"] == [75]
    assert set(job.KNOWN_KEYS) - {*made, *other, *third, "delay", "ref"} == set(), "a key has no option"


def test_expires_replaces_both_keys_of_the_json(queuectl: Commands, spool: SpoolDir) -> None:
    """A duration is `expires_after`, anything else an instant; either takes the place of what the JSON says."""
    made = spec(spool, queuectl("enqueue", "--expires", "2h", '{"command": "true", "expires_at": "2999-01-01T00:00Z"}'))
    assert made["expires_after"] == 7200 and "expires_at" not in made
    made = spec(spool, queuectl("enqueue", "--expires", "2999-01-01T00:00Z", '{"command": "true", "expires_after": 5}'))
    assert made["expires_at"] == "2999-01-01T00:00:00.000Z" and "expires_after" not in made


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("0", "--expires: zero would end the job"),
        ("2020-01-01T00:00Z", "is in the past"),
        ("soon", "is not a duration or a time from 1970 to 9999"),
    ],
)
def test_a_bad_limit_of_the_start_is_refused(queuectl: Commands, typed: str, text: str) -> None:
    """The command line is wrong then, and says how to write it."""
    assert text in queuectl("enqueue", "--expires", typed, "--command", "true", code=2).err


def test_a_key_that_is_ignored_is_warned_of_and_on_record(queuectl: Commands, spool: SpoolDir) -> None:
    """The warning appears at once and in the job's history."""
    result = queuectl("enqueue", '{"id": "a", "command": "true", "retries": 2, "foo": 1, "x-mine": 1}')
    assert "'retries' is ignored; did you mean 'max_retries'?" in result.err
    assert "'foo' is unknown and ignored" in result.err and "x-mine" not in result.err
    shown = queuectl("show", "a").out
    assert "did you mean 'max_retries'?" in shown and "'foo' is unknown" in shown


def test_meta_is_shown_and_listed(queuectl: Commands, spool: SpoolDir) -> None:
    """What a producer keeps with a job is there for people, for programs and in the library."""
    queuectl("enqueue", '{"id": "a", "command": "true", "meta": {"customer": 4711}}')
    assert '{"customer": 4711}' in queuectl("show", "a").out
    assert queuectl("show", "a", "--json").json["job"]["meta"] == {"customer": 4711}
    assert queuectl("list", "--json").json["jobs"][0]["meta"] == {"customer": 4711}
    assert Spool(spool.root).get("a").meta == {"customer": 4711}


def test_a_job_that_comes_too_late_is_warned_of(queuectl: Commands, spool: SpoolDir) -> None:
    """It is accepted, as a drop is, and dead without a run: its producer may want to know."""
    done = queuectl("enqueue", '{"command": "true", "expires_at": "2001-01-01T00:00:00Z"}')
    assert "expires_at: 2001-01-01T00:00:00Z has passed" in done.err and len(spool.waiting_names()) == 1
    for later in ("2999-01-01T00:00:00Z", None):
        assert "has passed" not in queuectl("enqueue", "-", stdin=json.dumps({"command": "x", "expires_at": later})).err
