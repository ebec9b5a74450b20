"""What is said of mistakes: the exit code by whose mistake it is, words that help, and none of Python or a library."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands, run
from tests.helpers import names_in

USAGE, NO_SUCH_JOB, INVALID = 2, 3, 5
# Words of Python, msgspec, Typer and tomllib, which say nothing to somebody who types a command or writes a file.
FOREIGN = re.compile(
    r"`|\bint\b|\bstr\b|\bfloat\b|\bbool\b|\barray\b \||isoformat|\brange\b|x>=|Errno|Traceback|codec|delimiter"
    r"|enclosed|Expecting|Expected|parameter|Got unexpected|No such (?:option|command)|\w\[\.\.\.\]|'\['|'\[[A-Z]"
    r"|object \||datetime|statement|surrogate|Invalid"
)

COMMAND_LINES = [
    (["enqueue", "--priority", "abc", "--command", "true"], ["--priority: takes a whole number, not 'abc'"]),
    (["enqueue", "--priority", "9999999", "--command", "true"], ["--priority: takes", "-999999 to 999999"]),
    (["enqueue", "--timeout", "abc", "--command", "true"], ["--timeout: 'abc' is not a duration such as 30s"]),
    (["enqueue", "--timeout", "0", "--command", "true"], ["--timeout: zero would end every attempt"]),
    (["enqueue", "--delay", "abc", "--command", "true"], ["--delay: 'abc' is not a duration"]),
    (["enqueue", "--backoff-max", "abc", "--command", "true"], ["--backoff-max: 'abc' is not a duration"]),
    (["enqueue", "--backoff-base", "x", "--command", "true"], ["--backoff-base: takes a number, not 'x'"]),
    (["enqueue", "--jitter", "5", "--command", "true"], ["--jitter: takes a number from 0 to 1, not the number 5"]),
    (["enqueue", "--output-max", "abc", "--command", "true"], ["--output-max: 'abc' is not a size", "500K"]),
    (["enqueue", "--max-retries", "-1", "--command", "true"], ["--max-retries: takes a whole number from 0"]),
    (["enqueue", "--id", "a/b", "--command", "true"], ["--id: 'a/b' may contain only"]),
    (["enqueue", "--owner", "a b", "--command", "true"], ["--owner: 'a b' may contain only"]),
    (["enqueue", "--at", "soon", "--command", "true"], ["--at: 'soon' is not a time", "03:15"]),
    (["enqueue", "--env", "LEVEL", "--command", "true"], ["--env takes NAME=VALUE"]),
    (["enqueue", "--retry-on", "abc", "--command", "true"], ["--retry-on: takes a whole number"]),
    (["enqueue", "--retry-on", "1", "--no-retry-on", "2", "--command", "true"], ["--retry-on and --no-retry-on"]),
    (["enqueue", "--jitter", "5", "--timeout", "x", "--command", "true"], ["2 mistakes", "--jitter:", "--timeout:"]),
    (["enqueue", "--comand", "true"], ["no option --comand", "did you mean --command?"]),
    (["enqueue", "--max_retries", "3", "--command", "true"], ["did you mean --max-retries?"]),
    (["enqueue", "--command"], ["--command needs a value"]),
    (["enqueue", "hello"], ["neither JSON nor a file"]),
    (["lst"], ["no command 'lst'", "did you mean queuectl list?"]),
    (["worker", "strat"], ["did you mean queuectl worker start?"]),
    (["worker", "xyz"], ["the commands of queuectl worker: start, stop, "]),
    (["list", "--limt", "3"], ["no option --limt", "did you mean --limit?"]),
    (["list", "--limit", "abc"], ["--limit: takes a whole number of 0 or more, not 'abc'"]),
    (["list", "--limit", "-3"], ["--limit: takes a whole number of 0 or more, not -3"]),
    (["list", "--state", "runing"], ["no state 'runing'", "did you mean running?"]),
    (["list", "--json=3"], ["--json takes no value"]),
    (["worker", "start", "--count", "0"], ["--count: takes a whole number from 1 to 256, not 0"]),
    (["show"], ["give the id of a job", "queuectl list"]),
    (["show", "a", "b"], ["too many arguments: b", "queuectl show [OPTIONS] [ID]"]),
    (["stats", "--since", "abc"], ["--since: 'abc' is not a duration"]),
    (["pause", "--for", "abc"], ["--for: 'abc' is not a duration"]),
    (["wait", "x", "--timeout", "abc"], ["--timeout: 'abc' is not a duration"]),
    (["completion", "tcsh"], ["SHELL: takes one of bash, zsh"]),
    (["--nosuch"], ["no option --nosuch"]),
]

JOBS = [
    ('{"command": 5}', ["command: takes a text (for the shell) or a list of texts, not the number 5"]),
    ('{"command": ["a", 5]}', ["command[1]: takes a text, not the number 5"]),
    ('{"command": []}', ["command: takes", "not an empty list"]),
    ('{"command": null}', ["not null"]),
    ('{"comand": "true"}', ["command: is missing", 'did you mean "command" instead of "comand"?']),
    ('{"command": "true", "env": {"A": 1, "B": "x"}}', ["env.A: takes a text, not the number 1", "put it in quotes"]),
    ('{"command": "true", "env": "A=1"}', ["env: takes an object of texts, not the text"]),
    ('{"command": "true", "tags": "a"}', ['tags: takes a list of texts, not the text "a"', "put it in brackets"]),
    ('{"command": "true", "max_retries": "3"}', ['not the text "3"', "write 3 without quotes"]),
    ('{"command": "true", "priority": 1.5}', ["priority: takes a whole number from", "not the number 1.5"]),
    ('{"command": "true", "jitter": 2}', ["jitter: takes a number from 0 to 1, not the number 2"]),
    ('{"command": "true", "minimal_env": "yes"}', ["minimal_env: takes true or false"]),
    ('{"command": "true", "meta": 5}', ["meta: takes an object, not the number 5"]),
    ('{"command": "true", "timeout": "abc"}', ["timeout: 'abc' is not a duration"]),
    ('{"command": "true", "timeout": []}', ["timeout: takes seconds or a text such as 30s", "not an empty list"]),
    ('{"command": "true", "output_max": 1.5}', ["output_max: takes a number of bytes or a text such as 500K"]),
    ('{"command": "true", "run_at": "tomorrow"}', ["run_at: 'tomorrow' is not an instant", "2026-11-24T03:15:00Z"]),
    ('{"command": "true", "run_at": 5}', ["run_at: takes a text such as 2026-11-24T03:15:00Z, not the number 5"]),
    ('{"command": "true", "run_at": "2026-11-24T03:15:00"}', ["has no time zone"]),
    ('{"command": "true", "no_retry_exit_codes": ["a"]}', ["no_retry_exit_codes[0]: takes a whole number"]),
    (
        '{"command": 5, "tags": 3, "env": {"A": 1, "B": 2}, "id": "a/b", "timeout": "x", "delay": 1, "run_at": "y"}',
        ["7 mistakes", "command: takes", "tags: takes", "env.A:", "env.B:", "id: 'a/b'", "timeout: 'x'", "run_at: 'y'"],
    ),
    ('[{"command": "true"}, {"command": 5, "tags": 3}]', ["job 2: 2 mistakes", "command: takes", "tags: takes"]),
    ('[{"command": "true"}, 5]', ["job 2", "this is a number"]),
    ('{"command": "true",}', ["there is a comma before the closing }", "line 1 column 20", "remove that comma"]),
    ('{"command": ["a",]}', ["there is a comma before the closing ]", "remove that comma"]),
    ("{'command': 'true'}", ["' is not a quote of JSON", "double quotes", "line 1 column 2"]),
    ('{"command": “true”}', ["“ is not a quote of JSON", "double quotes"]),
    ('{"command": "true"', ["it ends too early", "write the rest"]),
    ('{"command": "tru', ["does not end"]),
    ('{"command": "true" "id": "x"}', ["a comma is missing", "line 1 column 20"]),
    ('{"command" "true"}', ["a colon is missing"]),
    ('{"command": True}', ["True is neither a text nor a number", "write true"]),
    ('{"command": echo}', ["echo is neither a text nor a number", "put it in double quotes"]),
    ('{"command": "C:\\dir"}', ["unknown escape sequence", "write two backslashes"]),
    ('{"command": "a\nb"}', ["a text contains a line break", "write \\n instead"]),
    ('{"command": "true"} # why', ["there is more text after its end", "line 1 column 21"]),
    ('{"command": "true", # why\n"id": "x"}', ["JSON has no comments", "remove the comment"]),
    ('{"command": "true", "command": "false"}', ["the key 'command' occurs twice"]),
    ('{"command": "true", "timeout": NaN}', ["NaN is not a number of JSON"]),
    ('{"command": "true", "x": ' + "9" * 5000 + "}", ["a number with too many digits"]),
]


def _judge(err: str, words: list[str]) -> None:
    assert [word for word in words if word not in err] == [], err
    # What was typed may hold any word: only what we say is judged.
    said = re.sub(r"(?m)^cause: .*\n +\^ here$", "", err)
    assert FOREIGN.findall(said) == [], err


@pytest.mark.parametrize(("typed", "words"), COMMAND_LINES, ids=[" ".join(line[0]) for line in COMMAND_LINES])
def test_a_wrong_command_line_exits_2_and_says_what_is_taken(
    queuectl: Commands, typed: list[str], words: list[str]
) -> None:
    """The same kind of mistake has the same exit code, and the error uses the words of the command line."""
    _judge(queuectl(*typed, code=USAGE).err, words)


@pytest.mark.parametrize(("text", "words"), JOBS, ids=[line[0][:60] for line in JOBS])
def test_a_wrong_job_exits_5_and_names_every_mistake_with_its_place(
    queuectl: Commands, spool: SpoolDir, text: str, words: list[str]
) -> None:
    """All wrong keys are named at once, each with its place and what it takes; nothing is enqueued."""
    _judge(queuectl("enqueue", "-", stdin=text, code=INVALID).err, words)
    assert names_in(spool, "pending") == []


SETTINGS = [
    ('max_retries = "3"\n', ['line 1: max_retries: takes a whole number from 0 to 1000000, not the text "3"']),
    ("max_retries = 3,\n", ["line 1: there is more text after the value", "^ here", "end the line there"]),
    ('retries = 3\nshell = "fish"\n', ["2 mistakes", "line 1: retries", "did you mean max_retries?", "line 2: shell"]),
    ("[hooks]\non_dead = 5\n", ["line 2: hooks.on_dead: takes a list"]),
    ("hooks = 5\n", ["hooks: takes a table [hooks]"]),
    ("[[inbox]]\npath = 5\n", ["[[inbox]] 1, path: takes a text, not the number 5", "[[inbox]] 1, mode: is missing"]),
    ("[commands.a]\ncommand = 5\n", ["commands.a.command: unknown key", "commands.a.argv: is missing"]),
]


@pytest.mark.parametrize(("text", "words"), SETTINGS, ids=[line[0] for line in SETTINGS])
def test_wrong_settings_exit_5_and_name_every_mistake_with_its_line(
    queuectl: Commands, spool: SpoolDir, text: str, words: list[str]
) -> None:
    """Whoever corrects the file corrects it once."""
    Path(spool.settings_path).write_text(text, encoding="utf-8")
    _judge(queuectl("worker", "start", "--drain", code=INVALID).err, words)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["max-retries", "abc"], ['max_retries: takes a whole number from 0 to 1000000, not the text "abc"']),
        (["max-retrys", "3"], ["no setting 'max-retrys'", "did you mean max_retries?"]),
        (["timeout", "abc"], ["timeout: takes a duration of 0.001 seconds or more", 'not the text "abc"']),
    ],
)
def test_a_wrong_setting_on_the_command_line_exits_5(queuectl: Commands, typed: list[str], words: list[str]) -> None:
    """A setting that is not valid has one exit code, in the file and typed."""
    _judge(queuectl("config", "set", *typed, code=INVALID).err, words)


def test_an_unknown_job_exits_3(queuectl: Commands) -> None:
    """There is no such job: what was typed could be right in another spool."""
    _judge(queuectl("show", "nosuch", code=NO_SUCH_JOB).err, ["no job 'nosuch'", "queuectl list"])


def test_a_job_whose_folder_is_missing_says_so(queuectl: Commands, spool: SpoolDir) -> None:
    """A bad cwd is called that everywhere, not a command that is not found or not executable."""
    queuectl("config", "set", "max_retries", "0")
    warned = queuectl("enqueue", "--id", "x", "--cwd", "/no/such", "--command", "true").err
    assert "the folder /no/such does not exist" in warned
    queuectl("enqueue", "--id", "y", "--cwd", "/no/such", "--command", "true")
    run("--spool", spool.root, "worker", "start", "--drain")
    told = [queuectl("show", "y").out, queuectl("dlq", "list").out, queuectl("why", "y").out]
    told.append(Path(spool.path("dlq", "y.error.txt")).read_text(encoding="utf-8"))
    for text in told:
        assert "cannot enter the folder /no/such (the job's cwd)" in text
        assert "not executable" not in text and "not found" not in text and "could not be started" not in text
