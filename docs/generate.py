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
from queuectl.model.setting import SETTINGS

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
| 75 | the spool cannot be used now: full, read-only, busy or missing |
| 124 | the wait took too long |
| 130 | interrupted |
""".splitlines()
HOOKS = """\
## Hooks

A name with a dot is a key in a table: `hooks.on_dead = [...]`, or at the end of the file

```toml
[hooks]
on_dead = ["notify-send", "A job is dead"]
```

A hook is a program that the pool starts, in the folder that the pool was started in. It gets the path of the job's file
as its last argument and as `QUEUECTL_RECORD`, and `QUEUECTL_EVENT` (`dead`, `done`, `stale` or `idle`) and
`QUEUECTL_SPOOL`. What it prints goes nowhere. Two run at once and a hundred wait; more are passed over, with one
warning. After 30 s it is killed, on POSIX with what it started. One that fails is told of once, until it works again,
and changes nothing.

Each pool starts its own: for the jobs that it ran, and `on_idle` when it has run something and sees nothing left that
waits (also for a later time) or runs. A pool that ends waits for its hooks, up to 30 seconds, or 3 where it was
stopped. None is owed: what a killed pool had not started is not made up for.

`on_stale` is started by one pool of the spool, for a job that could have run for longer than `stale_after`: since it
came, since its retry or `run_at` was due, or since the spool was no longer paused. A job that is held, or whose time is
still to come, is not stale. Each job is told of once for each time that it waits, the one that has waited longest
first, and 20 jobs at most in the time of one `stale_after`. The first of them says that workers are too few, or stuck.
That no pool runs at all can only be seen from outside: `status.json` gets old then.
""".splitlines()
INBOXES = """\
## Inboxes

An inbox is a folder outside the spool, on any file system (a share, another disk), whose files are taken in while
workers run. `pending/` then stays the workers' own. At the end of `queuectl.toml`, once for each:

```toml
[[inbox]]
path = "/srv/drop/anna"
mode = "trusted"
```

| key | default | meaning |
|---|---|---|
| `path` | | the folder; from the spool's root where it is not absolute |
| `mode` | | what it may hold. `trusted`: anything; `templates`: one of `[commands]`; `signed`: what a key signed |
| `owner` | the folder's name | whose jobs these are |
| `tags` | none | tags for its jobs that bring none |
| `settle_s` | the setting above; 120 on shares | how long a file that is not whole may be quiet before it is refused |
| `receipts` | `true` | a job that is dead leaves `NAME.failed.txt` in the inbox |
| `done_receipts` | `false` | a job that is done leaves `NAME.done.txt` |
| `max_bytes` | `1048576` | the largest file |
| `max_waiting` | `1000` | so many of its jobs wait in the spool; more files stay in the inbox until some have run |
| `max_per_minute` | `0` | so many files are taken in or rejected within a minute; 0 is no limit |
| `max_rejected` | `1000` | so many rejected files have a text; `queuectl-more-rejected.txt` tells of the others |
| `keys` | | `signed`: the folder with the keys |
| `audience` | the spool's identity | `signed`: whom jobs have to be signed for (`queuectl sign --for NAME`) |

One job a file, `NAME.json`. What cannot be a job is renamed in the inbox to `NAME.json.rejected`, with a text beside it
that says why; corrected there, it is taken in by itself. `queuectl status` tells what waits in each inbox, what still
arrives and what holds files back; `queuectl why NAME` says it of one file.
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
        lines.append(f"- **{title}:** {links}")
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
    lines = ["## Common options", "", "Each command names the common options that it takes.", ""]
    lines += ["| option | meaning |", "|---|---|"]
    for spelling, text in COMMON.items():
        lines.append(f"| `{spelling}` | {_cell(text)} |")
    return lines


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
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "In `queuectl.toml` in the spool, or by `queuectl config set NAME VALUE` (where a dash is as good as an",
        "underscore). Workers read them when they start; retry settings are copied into a job when it is taken in. A",
        "mistake in the file stops workers from starting, with its name, the key and what is allowed. Durations are",
        "seconds or `30s 5m 2h 1d`.",
        "",
        "| setting | default | takes | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{setting.name}` | `{settings.show(setting.default)}` | {setting.allowed} | {setting.meaning} |"
        for setting in SETTINGS
    ]
    lines += ["", *HOOKS, "", *INBOXES]
    return "\n".join(lines) + "\n"


DOCUMENTS = {"commands.md": commands_text, "settings.md": settings_text}


def main() -> None:
    """Write both files."""
    for name, make in DOCUMENTS.items():
        (HERE / name).write_text(make(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
