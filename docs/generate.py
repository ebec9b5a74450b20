"""Writes docs/commands.md and docs/settings.md from the program itself.

    python docs/generate.py

A test compares the files with what this makes, so the documents cannot drift from the help.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from queuectl.cli import group, selection
from queuectl.model import settings
from queuectl.model.queues import QUEUE_SETTINGS
from queuectl.model.setting import SETTINGS, Setting

HERE = Path(__file__).parent
# Options that every command takes, and options of several commands: explained once, then only named.
EVERYWHERE = ("--spool", "--debug", "--help")
COMMON = {
    "--spool PATH": group.SPOOL_HELP,
    "--debug": group.DEBUG_HELP,
    "--help, -h": "Show the help of the command.",
    "--json": group.JSON_HELP,
    "--yes, -y": group.YES_HELP,
    "--dry-run": group.DRY_RUN_HELP,
    **selection.filter_helps(),
}
SPOOL_AND_CODES = """\
## Which spool a command uses

1. `--spool PATH`, if you give it;
2. `QUEUECTL_SPOOL`, if that environment variable is set;
3. the nearest spool in this or a parent folder, or in a folder named `spool/` there;
4. your own spool, which is made on first use.

A command uses a spool of another user only if you name it with `--spool` or `QUEUECTL_SPOOL`.

## Exit codes

| code | meaning |
|---|---|
| 0 | success |
| 1 | the command failed, or the spool is not trusted |
| 2 | the command line is wrong |
| 3 | there is no such job |
| 4 | a job that you waited for failed. A single job with an exit code of 1 to 255 passes on its own code instead |
| 5 | the job or a setting is not valid, or the id is taken |
| 10 | `check`: the faults are repaired; without `--repair`: they can be repaired |
| 11 | `check`: something needs a person |
| 75 | the spool cannot be used now: full, read-only, busy or missing; or the cluster does not answer |
| 124 | the wait took too long |
| 130 | interrupted |
""".splitlines()
# The groups of docs/settings.md: title, introduction, the settings, and when to change them.
SETTING_GROUPS = (
    (
        "Retries",
        "These settings decide how often and when a failed job runs again. A job can override each of them.",
        ("max_retries", "backoff_base", "backoff_max", "jitter", "give_up_after", "snooze_exit_codes", "snooze_max"),
        (
            "`max_retries`: set it to 0 if a failed job must not run again. Set it higher for temporary failures.",
            "`snooze_exit_codes`: set it to `[]` if your commands use 75 for a failure that counts.",
            "`jitter`: use 0.1 to 0.5 if many jobs depend on the same server.",
        ),
    ),
    (
        "Limits of an attempt",
        "These settings limit a command.",
        ("timeout", "output_max", "shell"),
        (
            "`timeout`: set it if a command can hang. Without it, a hanging command keeps its slot forever.",
            "`output_max`: set it lower if the disk is small. The output of a job stays as long as the job.",
        ),
    ),
    (
        "Workers",
        "These settings decide how a pool runs its slots, and how it stops.",
        ("worker_processes", "stop_grace_s", "kill_grace_s"),
        ("`stop_grace_s`: set it to the usual duration of your jobs, so that a stop does not interrupt them.",),
    ),
    (
        "Files in pending/",
        "These settings decide how workers find and check files that other programs put into `pending/`.",
        ("after_grace", "settle_s", "scan_s", "run_files_of_others"),
        (
            "`settle_s`, `scan_s`: change them if `pending/` is on a network share: see [shares.md](shares.md).",
            "`run_files_of_others`: `true` lets anyone who can write to `pending/` run commands as the workers' user.",
            "`run_files_of_others`: read [security.md](security.md) before you change it.",
        ),
    ),
    (
        "Durability and retention",
        "These settings decide what survives a power failure, and how long jobs stay.",
        ("durability", "keep_done", "keep_dlq", "keep_rejected"),
        (
            "`durability`: use `full` if a job that has ended must not run again after a power failure.",
            "`durability`: use `off` only for jobs that you can lose. [performance.md](performance.md) has the costs.",
            "`keep_done`: use a shorter time for many jobs per day, because each finished job is a file.",
        ),
    ),
    (
        "Access and monitoring",
        "These settings decide who can see the jobs, and how.",
        ("group_access", "dashboard", "metrics"),
        ("`dashboard`: use `counts` if people who must not see your commands can read the page.",),
    ),
    (
        "Cluster",
        "These settings, keys of the table `[cluster]`, are for jobs on other machines: see [cluster.md](cluster.md).",
        (
            "cluster.scheduler",
            "cluster.keys",
            "cluster.slots",
            "cluster.lease",
            "cluster.output_max",
            "cluster.take",
            "cluster.insecure",
            "cluster.bridge_user",
        ),
        (
            "`cluster.lease`: set it higher if the network can fail for over 20 s. Jobs of a lost node wait for it.",
            "`cluster.insecure`: leave it off. [security.md](security.md) says who can run commands otherwise.",
        ),
    ),
)
SETTINGS_INTRO = """\
The settings of a spool are in its file `queuectl.toml`. Edit the file, or type `queuectl config set NAME VALUE`; dashes
and underscores are interchangeable. `queuectl config list` shows the values in use.

Workers read the file when they start. `queuectl worker reload` applies these settings to the next attempts:
RELOADABLE.
It names the other settings that changed; they take effect at the next start. Settings of [queues](#queues) take effect
without it.

Retry settings are copied into a job when it is accepted. If the file has a mistake, workers do not start, and the error
names the file, the key and the allowed values. A duration is a number of seconds, or `30s`, `5m`, `2h`, `1d`.
""".replace("RELOADABLE", ", ".join(f"`{name}`" for name in settings.RELOADABLE)).splitlines()
HOOKS_INTRO = """\
A hook is a program that a pool starts at an event. The name of its setting is a key in a table. Write
`hooks.on_dead = [...]`, or at the end of the file:

```toml
[hooks]
on_dead = ["notify-send", "A job is dead"]
```
""".splitlines()
HOOKS = """\
The pool starts a hook in the folder in which the pool was started. A hook gets:

- the path of the job's file as its last argument and in `QUEUECTL_RECORD` (`on_halt`: of the file `PAUSED-QUEUE`, whose
  first line says what failed);
- the event in `QUEUECTL_EVENT`: `dead`, `done`, `stale`, `idle` or `halt`;
- the spool in `QUEUECTL_SPOOL`.

The output of a hook is discarded. Two hooks run at once, and a hundred wait; more are skipped, with one warning. A hook
is killed after 30 s, on POSIX together with the processes that it started. A failing hook is reported once until it
recovers; it changes nothing.

Each pool starts hooks for the jobs that it ran. It starts `on_idle` when it has run a job and finds none left: neither
running nor waiting, also not for a later time. A pool that ends waits for its hooks, up to 30 s, or 3 s after a stop.
Hooks are not guaranteed: hooks that a killed pool had not started are lost.

One pool of the spool starts `on_stale`, for a job that could have run for longer than `stale_after`. That time begins
when the job arrives, when its retry or `run_at` is due, or when the spool is resumed, whichever is last. A held job is
not stale, and neither is a job whose time has not come. Each job is reported once for each time that it waits. The job
that has waited longest comes first, and at most 20 jobs are reported per `stale_after`. A report means that there are
too few workers, or that they are stuck. If no pool runs at all, no hook can report it, but `status.json` becomes old.
""".splitlines()
QUEUES = """\
## Queues

A job names its queue: `"queue": "mail"`, or `enqueue --queue mail`. A queue needs a section only for limits of its own.
Running workers use a change within a second; `queuectl config set queues.mail.slots 4` writes it into the file.

```toml
[queues.mail]
slots = 4
per_key = 1

[queues.api]
rate = "100/1m"     # at most 100 starts in any minute, over all pools; a retry is a start
halt_after = 5      # five failed runs in a row pause the queue
halt_for = "10m"    # then one job tries it
```

A rate holds for every window of its length, also one that begins within another. The circuit breaker (`halt_after`,
`halt_share`) creates the file `PAUSED-api`, whose first line is the last failure. After `halt_for`, or when somebody
runs `queuectl resume api`, one job of the queue runs at a time. Its success opens the queue, its failure pauses the
queue again.
""".splitlines()
INBOXES = """\
## Inboxes

An inbox is a folder outside the spool, on any file system (a share, another disk). While workers run, its files become
jobs. So only the workers need access to `pending/`. Add a section at the end of `queuectl.toml` for each inbox:

```toml
[[inbox]]
path = "/srv/drop/anna"
mode = "trusted"
```
""".splitlines()
INBOX_KEYS = (
    ("path", "", "The folder. A relative path starts at the spool's root."),
    (
        "mode",
        "",
        "What it takes. `trusted`: all jobs; `templates`: `[commands]`; `signed`: signed jobs; `files`: any file",
    ),
    ("owner", "the folder's name", "Owner of its jobs."),
    (
        "queue",
        "the default queue",
        "Queue of its jobs. In the mode `trusted` a job may name another one.",
    ),
    ("tags", "none", "Tags for jobs without their own."),
    (
        "settle_s",
        "the setting above; 120 on shares",
        "How long an incomplete file may stay unchanged before it is rejected; with `files`, before it is taken.",
    ),
    (
        "receipts",
        "`true`",
        "Write `NAME.failed.txt` into the inbox when a job is dead; in the mode `files` beside the file in `failed/`.",
    ),
    ("done_receipts", "`false`", "Write `NAME.done.txt` when a job is done."),
    ("max_bytes", "`1048576`", "Size limit of a file."),
    (
        "max_waiting",
        "`1000`",
        "How many of its jobs may wait in the spool. Other files stay in the inbox until some jobs have run.",
    ),
    ("max_per_minute", "`0`", "How many files are accepted or rejected per minute; 0 means no limit."),
    (
        "max_rejected",
        "`1000`",
        "How many rejected files get their own text. `queuectl-more-rejected.txt` lists the others.",
    ),
    ("keys", "", "`signed`: the folder with the keys."),
    (
        "audience",
        "the spool's identity",
        "`signed`: the name that jobs must be signed for (`queuectl sign --for NAME`).",
    ),
)
INBOX_FILES = """\
Each file, `NAME.json`, holds one job. A file that cannot become a job is renamed in the inbox to `NAME.json.rejected`,
and a text file next to it gives the reason. If you correct the file there, it is accepted automatically.
`queuectl status` shows which files wait in each inbox, which are incomplete, and what delays them.
`queuectl inbox list` has a row for each inbox, and `queuectl why NAME` explains one file. `queuectl inbox test PATH`
says what would happen to a file, without doing it.

### Inboxes of files

With `mode = "files"` every file in the folder becomes a job: the `command` of the inbox, for this file.
[files.md](files.md) has whole examples, and the table of when a file is taken.

```toml
[[inbox]]
path = "/srv/scans"
mode = "files"
match = ["*.pdf"]
command = ["pdftotext", "{file}", "{folder}/{stem}.txt"]
```

These keys are for this mode only. The keys `done_receipts`, `max_bytes`, `max_rejected`, `keys` and `audience` are for
the other modes only.
""".splitlines()
FILE_KEYS = (
    ("command", "", "A list: the program and its arguments, with the placeholders below. No shell reads it."),
    (
        "template",
        "",
        "Instead of `command`: the name of a command in `[commands]`, as `ocr`; see below.",
    ),
    (
        "params",
        "",
        'Values for the params of that command, with the placeholders below, such as `{ size = "A4", in = "{file}" }`.',
    ),
    ("match", '`["*"]`', "Patterns of the names that are taken, ignoring case. Other files are left alone."),
    ("ignore", "none", "Patterns of names that are left alone although they match."),
    (
        "recursive",
        "`false`",
        "Take files from subfolders too: `true` for 8 levels, or the number of levels (at most 32).",
    ),
    ("subfolder_tags", "`false`", "Give each job the names of its subfolders as tags (up to 64 characters, no comma)."),
    ("done_file", "", 'The name of a marker that says that a file is whole, such as `"{name}.done"` or `"{stem}.ok"`.'),
    (
        "out",
        "",
        "The folder that `{out}` stands for; a relative path starts at the spool's root. Files wait for it.",
    ),
    (
        "unique",
        "",
        '`"content"`: the same content [is not run twice](files.md#the-same-content-twice), whatever its name is.',
    ),
    ("priority", "`0`", "Priority of the jobs."),
    ("timeout", "none", 'Limit of each attempt, such as `"10m"`.'),
    ("max_retries", "the setting", "How often a failed job is retried before its file goes to `failed/`."),
    (
        "on_success",
        '`"done"`',
        'The folder in the inbox for files whose jobs succeeded, or an absolute path; `"delete"`; `"keep"`: no move.',
    ),
    ("on_failure", '`"failed"`', "The folder in the inbox for files whose jobs did not, or an absolute path."),
)
FILE_PLACEHOLDERS = """\
| placeholder | is filled in with |
|---|---|
| `{file}` | the absolute path of the file while its job exists, in the inbox's folder `working/` |
| `{name}`, `{stem}`, `{suffix}` | its name (`Scan 7.pdf`), without the ending (`Scan 7`), the ending (`.pdf`) |
| `{folder}` | the folder of `{file}`. What the command makes there goes with the file to `done/` or `failed/` |
| `{subfolder}` | the path of its subfolder (`2026/May`); at the top it is empty, and `{subfolder}/` is too |
| `{out}` | the folder of the key `out` |

A placeholder may be a part of a word. A file whose name would make a word begin with `-`, `+` or `@` is left in the
inbox, and `queuectl status` says why. Give `{file}` to a program that reads the file: a job does not run in the folder
of its file. Write `{{` and `}}` for braces that stay.

**A command of `[commands]`.** [security.md](security.md#commands-that-others-only-fill-in) explains these commands.
With `template = "NAME"` the words are those of `[commands.NAME]`. Its `timeout`, `max_retries`, `cwd` and `env` hold
too; a `timeout` or `max_retries` of the inbox wins. Each param gets its value in `params`, else its own `default`. A
param without both gets the placeholder of the same name: `{file}` in `argv` is the file. The type of the param checks
every value. If the name of a file makes a value that the type refuses, the file is left in the inbox, and
`queuectl status` says why.
""".splitlines()


def commands(*names: str) -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, in the order of the help; of these groups or commands only."""
    for name in names or group.COMMANDS:
        command: Any = group.load(name)
        if isinstance(command, TyperGroup):
            for part, each in command.commands.items():
                yield f"{name} {part}", each
        else:
            yield name, command


def commands_text() -> str:
    """Return docs/commands.md: the groups of `queuectl --help`, each command with what its help says."""
    lines = [
        "# Commands",
        "",
        "`docs/generate.py` makes this page from the help of the commands.",
        "",
    ]
    for title, entries in group.GROUPS.items():
        links = ", ".join(f"[`{name}`](#{_anchor(name)})" for name in entries)
        lines += textwrap.wrap(f"- **{title}:** {links}", 120, subsequent_indent="  ", break_on_hyphens=False)
    lines += ["", *_common(), "", *SPOOL_AND_CODES]
    for title, entries in group.GROUPS.items():
        lines += ["", f"## {title}"]
        for name in entries:
            for full_name, command in commands(name):
                lines += ["", f"### queuectl {full_name}", "", *_section(full_name, command)]
    return "\n".join(lines) + "\n"


def _anchor(name: str) -> str:
    first, _ = next(commands(name))
    return f"queuectl-{first}".replace(" ", "-")


def _common() -> list[str]:
    """Return the table of the options that several commands share."""
    filters = selection.filter_helps()
    lines = [
        "## Common options",
        "",
        "Every command takes the first three. The others are named at each command that takes them.",
        "",
    ]
    lines += _options({option: text for option, text in COMMON.items() if option not in filters})
    lines += ["", "These options select the jobs of a command. If you give several, a job must fit all of them.", ""]
    return lines + _options(filters)


def _options(texts: dict[str, str]) -> list[str]:
    return ["| option | meaning |", "|---|---|", *(f"| `{option}` | {_cell(text)} |" for option, text in texts.items())]


def _section(name: str, command: Any) -> list[str]:
    """Return a command's help, examples and options as Markdown."""
    context = command.make_context(f"queuectl {name}", [], resilient_parsing=True)
    usage = " ".join([f"queuectl {name}", *(part.strip("{}") for part in command.collect_usage_pieces(context))])
    summary, example, *rest = inspect.cleandoc(command.help).split("\n\n")
    examples = [line.strip() for line in example.removeprefix("\b\n").removeprefix("Example:").splitlines()]
    lines = [summary, "", "```", *(each for each in examples if each != "Examples:"), "```"]
    if not usage.endswith("[OPTIONS]"):
        lines += ["", f"Usage: `{usage}`"]
    for part in rest:
        lines += ["", *textwrap.wrap(_prose(part), 120, break_on_hyphens=False, break_long_words=False)]
    own, common = [], []
    for param in command.params:
        record = param.get_help_record(context)
        if record is None:
            continue
        spelling, text = record
        if any(text.startswith(known) for known in COMMON.values()):
            common.append(max(param.opts, key=len))
        else:
            own.append(f"| `{spelling}` | {_cell(text)} |")
    if own:
        lines += ["", "| argument or option | meaning |", "|---|---|", *own]
    named = ", ".join(f"`{option}`" for option in common if option not in EVERYWHERE)
    return lines + (["", f"Common options: {named}."] if named else [])


def _prose(text: str) -> str:
    """Return a paragraph with its options as code."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [re.sub(r"(?<![\w-])(--[a-z-]*[a-z]|--)(?![\w-])", r"`\1`", part) for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    """Return the help of an option for a cell of a table: ranges in words, and nothing that Markdown would change."""
    made = re.sub(r"(\d+)<=x<=(\d+)", r"\1 to \2", _prose(text))
    made = re.sub(r"x>=(\d+)", r"at least \1", made)
    return made.replace("[", "(").replace("]", ")").replace("|", "\\|").replace("*", "\\*")


def settings_text() -> str:
    """Return docs/settings.md: a table for each group of settings, then hooks and inboxes."""
    lines = [
        "# Settings",
        "",
        *SETTINGS_INTRO,
    ]
    by_name = {setting.name: setting for setting in SETTINGS}
    for title, intro, names, notes in SETTING_GROUPS:
        lines += ["", f"## {title}", "", intro, "", *_settings_table([by_name.pop(name) for name in names])]
        lines += ["", "When to change them:", ""]
        for note in notes:
            lines += textwrap.wrap(note, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    if strays := [name for name in by_name if not name.startswith("hooks.")]:
        raise ValueError(f"settings without a group in SETTING_GROUPS: {', '.join(strays)}")
    lines += [
        "",
        "## Hooks",
        "",
        *HOOKS_INTRO,
        "",
        *_settings_table(list(by_name.values())),
        "",
        *HOOKS,
        "",
        *QUEUES,
        "",
        *_settings_table(list(QUEUE_SETTINGS)),
        "",
        *INBOXES,
        "",
    ]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` |{default and f' {default}'} | {meaning} |" for key, default, meaning in INBOX_KEYS] + [
        "",
        *INBOX_FILES,
        "",
        "| key | default | meaning |",
        "|---|---|---|",
        *(f"| `{key}` |{default and f' {default}'} | {meaning} |" for key, default, meaning in FILE_KEYS),
        "",
        *FILE_PLACEHOLDERS,
    ]
    return "\n".join(lines) + "\n"


def _settings_table(listed: list[Setting]) -> list[str]:
    lines = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for setting in listed:
        meaning = re.sub(r"[a-z]+(_[a-z]+)+( \*\* n)?|\w+\.(html|json|prom)|\b\w+/(?!\w)", r"`\g<0>`", setting.meaning)
        default = settings.show(setting.default) or '""'
        lines.append(f"| `{setting.name}` | `{default}` | {setting.allowed} | {meaning} |")
    return lines


DOCUMENTS = {"commands.md": commands_text, "settings.md": settings_text}


def main() -> None:
    """Write both files."""
    for name, make in DOCUMENTS.items():
        (HERE / name).write_text(make(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
