"""The settings of a spool: their names, ranges, defaults and meanings, and queuectl.toml.

One table (`SETTINGS`) is the source of the default file, of `queuectl config list`, of the error texts and of the
test that every setting is documented. Computes on text; `spool.settings_file` reads and changes the file.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl.errors import InvalidSettingsError
from queuectl.model import sizes, times
from queuectl.model.job import RetryDefaults

if TYPE_CHECKING:
    from queuectl.model.command import Command
    from queuectl.model.inbox import Inbox

SETTINGS_NAME = "queuectl.toml"
FOREVER = "forever"
UNLIMITED = "unlimited"
DURABILITIES = ("queue", "full", "off")
SHELLS = ("auto", "sh", "bash", "zsh", "cmd", "powershell", "pwsh")
FULL, COUNTS, OFF = "full", "counts", "off"
DASHBOARDS = (FULL, COUNTS, OFF)
NONE, READ = "none", "read"
GROUP_ACCESS = (NONE, READ)


class Setting(NamedTuple):
    """One setting: `check` turns a TOML value into the value used, or raises ValueError.

    A name with a dot is a key in a table of the file: `hooks.on_dead` is `on_dead` in `[hooks]`.
    """

    name: str
    default: Any
    allowed: str
    check: Callable[[Any], Any]
    meaning: str

    @property
    def field(self) -> str:
        """Its name in `Settings`."""
        return self.name.rpartition(".")[2]


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _duration(low_s: float, high_s: float, *, forever: bool = False) -> Callable[[Any], float | None]:
    def check(value: Any) -> float | None:
        if forever and value == FOREVER:
            return None
        seconds = times.parse_duration(value)
        if not low_s <= seconds <= high_s:
            raise ValueError
        return seconds

    return check


def _size(value: Any) -> int | None:
    return None if value == UNLIMITED else sizes.parse(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return check


def _command(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise ValueError
    if value and not value[0].strip():
        raise ValueError
    return tuple(value)


_HOOK = 'a list: a program and its arguments, such as ["notify-send", "dead"]; [] for none'
_DAY_S = 86400.0
_CENTURY_S = times.LONGEST_S

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "max_retries",
        3,
        "a whole number from 0 to 1000000",
        _integer(0, 1_000_000),
        "Runs after the first one before a job is dead: 3 means four runs. Copied into a job when it is taken in.",
    ),
    Setting(
        "backoff_base",
        2,
        "a number from 0 to 1000000",
        _number(0, 1e6),
        "The n-th failure is followed by a wait of backoff_base ** n seconds: 2, 4, 8, 16 ... for 2.",
    ),
    Setting(
        "backoff_max",
        "1h",
        "a duration up to 100 years, such as 90s, 10m, 1h",
        _duration(0, _CENTURY_S),
        "Longest wait between two runs of a job.",
    ),
    Setting(
        "jitter",
        0,
        "a number from 0 to 1",
        _number(0, 1),
        "Share of a wait by which it is moved at random, so that jobs that failed together do not come back together.",
    ),
    Setting(
        "timeout",
        FOREVER,
        "a duration of 0.001 seconds or more such as 30m or 2h, or forever",
        _duration(0.001, _CENTURY_S, forever=True),
        "Longest run of a job that names no timeout of its own; then it is ended with all it started, and has failed.",
    ),
    Setting(
        "output_max",
        "1G",
        "a number of bytes or a size such as 500K, 100M, 1G (1024 each), or unlimited",
        _size,
        "Most that a run may print, where its job names no output_max. A run that prints more is ended and fails.",
    ),
    Setting(
        "settle_s",
        30,
        "a duration from 0.1 to 86400 seconds",
        _duration(0.1, _DAY_S),
        "A dropped file that is not whole JSON is rejected once it has not changed for this long (120 for shares).",
    ),
    Setting(
        "scan_s",
        2,
        "a duration from 0.05 to 3600 seconds",
        _duration(0.05, 3600),
        "How often the folder is listed, beside the events of the file system (a share has none: 2 at most).",
    ),
    Setting(
        "stop_grace_s",
        10,
        "a duration up to 86400 seconds",
        _duration(0, _DAY_S),
        "How long running jobs may go on after a stop was asked for; then they are ended and put back, uncounted.",
    ),
    Setting(
        "kill_grace_s",
        5,
        "a duration up to 3600 seconds",
        _duration(0, 3600),
        "How long a command may take to end after it was asked to (timeout, stop), before it is killed.",
    ),
    Setting(
        "shell",
        "auto",
        "one of " + ", ".join(SHELLS),
        _one_of(*SHELLS),
        "What runs a command that is a string; auto is sh, and cmd on Windows.",
    ),
    Setting(
        "durability",
        "queue",
        "one of " + ", ".join(DURABILITIES),
        _one_of(*DURABILITIES),
        "What is forced to disk: queue = accepted jobs; full = starts and results too; off = nothing.",
    ),
    Setting(
        "keep_done",
        "30d",
        "a duration such as 12h or 30d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long finished jobs and their logs are kept. After a jump of the clock nothing is deleted for a day.",
    ),
    Setting(
        "keep_dlq",
        FOREVER,
        "a duration such as 90d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long dead jobs and their logs are kept.",
    ),
    Setting(
        "keep_rejected",
        FOREVER,
        "a duration such as 90d, or forever",
        _duration(0, _CENTURY_S, forever=True),
        "How long files in rejected/ are kept with their reasons, counted from when they were rejected.",
    ),
    Setting(
        "group_access",
        NONE,
        "one of " + ", ".join(GROUP_ACCESS),
        _one_of(*GROUP_ACCESS),
        "Who else may read new job files and logs: none = only the workers' user; read = the files' group (POSIX).",
    ),
    Setting(
        "dashboard",
        FULL,
        "one of " + ", ".join(DASHBOARDS),
        _one_of(*DASHBOARDS),
        "What status.html and status.json show; counts = no commands, outputs and names of jobs; off = not written.",
    ),
    Setting(
        "metrics",
        False,
        "true or false",
        _boolean,
        "Whether queuectl.prom is written too: figures for Prometheus, to be read by its node exporter.",
    ),
    Setting(
        "run_files_of_others",
        False,
        "true or false",
        _boolean,
        "Run files in pending/ that belong to a user other than root and the workers' own. false: reject them.",
    ),
    Setting(
        "hooks.on_dead",
        [],
        _HOOK,
        _command,
        "Started by the pool, without a shell, when a job has moved to dlq/, but for a cancelled one; the path of its "
        "file is added at the end.",
    ),
    Setting(
        "hooks.on_done",
        [],
        _HOOK,
        _command,
        "The same when a job has moved to done/. Two hooks run at once, a hundred wait, others are passed over.",
    ),
    Setting(
        "hooks.on_idle",
        [],
        _HOOK,
        _command,
        "The same, without a path, when a pool that has run something finds that nothing waits or runs any more.",
    ),
    Setting(
        "hooks.on_stale",
        [],
        _HOOK,
        _command,
        "The same when a job has waited for too long, with the path of its file; for 20 jobs a stale_after at most.",
    ),
    Setting(
        "hooks.stale_after",
        "1h",
        "a duration of a second or more, such as 10m or 1h",
        _duration(1, _CENTURY_S),
        "How long is too long for on_stale: from when a job could run. A time that is paused does not count.",
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_LIST_HINT = "queuectl config list  shows what each setting takes"
# What is more than one line of the file: not to be set on a command line.
_SECTIONS = ("inbox", "commands")
_TABLES = frozenset(setting.name.partition(".")[0] for setting in SETTINGS if "." in setting.name)


class Settings(NamedTuple):
    """The settings in use, durations in seconds; None for `keep_*`, `timeout` and `output_max` is no limit."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    timeout: float | None
    output_max: int | None
    settle_s: float
    scan_s: float
    stop_grace_s: float
    kill_grace_s: float
    shell: str
    durability: str
    keep_done: float | None
    keep_dlq: float | None
    keep_rejected: float | None
    group_access: str
    dashboard: str
    metrics: bool
    run_files_of_others: bool
    on_dead: tuple[str, ...]
    on_done: tuple[str, ...]
    on_idle: tuple[str, ...]
    on_stale: tuple[str, ...]
    stale_after: float
    inboxes: tuple[Inbox, ...] = ()
    commands: Mapping[str, Command] = {}

    @property
    def retry_defaults(self) -> RetryDefaults:
        """What a job gets that brings no retry settings."""
        return RetryDefaults(self.max_retries, self.backoff_base, self.backoff_max, self.jitter)


def setting(name: str) -> Setting:
    """The setting called `name`; dash and underscore, upper and lower case are the same.

    Raises:
        InvalidSettingsError: there is none; the hint names the nearest.
    """
    folded = name.strip().lower().replace("-", "_")
    if folded in _BY_NAME:
        return _BY_NAME[folded]
    near = difflib.get_close_matches(folded, _BY_NAME, n=1, cutoff=0.5)
    raise InvalidSettingsError(
        f"there is no setting {name[:60]!r}",
        key=name,
        hint=f"did you mean {near[0]}?" if near else _LIST_HINT,
    )


def check(name: str, value: Any, *, path: str = "") -> Any:
    """The value to use for a TOML value of the setting `name`.

    Raises:
        InvalidSettingsError: the value is not allowed; says what is.
    """
    known = setting(name)
    try:
        return known.check(value)
    except ValueError:
        pass
    from queuectl.model import mistakes  # only where there is one

    text = f"{known.name}: takes {known.allowed}, not {mistakes.shown(value)}"
    where = f"{path}: " if path else ""
    raise InvalidSettingsError(
        where + text, path=path, key=known.name, hint=_unquoted(known, value) or _LIST_HINT, mistakes=(text,)
    )


def _unquoted(known: Setting, value: Any) -> str:
    """What to write in place of a number or a word that is in quotes, or ""."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            known.check(json.loads(value))
            return f"write {value} without quotes"
    return ""


def defaults() -> Settings:
    """The settings of a spool whose file says nothing."""
    return Settings(**{known.field: known.check(known.default) for known in SETTINGS})


def parse(text: str, *, path: str = "") -> Settings:
    """The settings that a queuectl.toml with this text gives.

    Raises:
        InvalidSettingsError: no TOML, an unknown key or a value out of range; names file, key and what is allowed.
    """
    table = read_table(text, path=path)
    found: list[dict[str, Any]] = []
    _collect(found, path, lambda: _checked(table, path, text), *_sections(table, path))
    values, *sections = found
    made = defaults()._replace(**{_BY_NAME[name].field: value for name, value in values.items()})
    for section in sections:
        made = made._replace(**section)
    return made


def given(text: str, *, path: str = "") -> dict[str, Any]:
    """Only the settings that the text sets, checked; inboxes and commands are checked too. Raises as `parse`."""
    table = read_table(text, path=path)
    found: list[dict[str, Any]] = []
    _collect(found, path, lambda: _checked(table, path, text), *_sections(table, path))
    return found[0]


def read_table(text: str, *, path: str = "") -> dict[str, Any]:
    """The text as TOML; the values in it may still be wrong.

    Raises:
        InvalidSettingsError: no TOML; names the line, and shows it.
    """
    if all(not line or line.startswith("#") for line in text.splitlines()):
        return {}  # the file as it is made: nothing to parse, and no parser to import (4 ms of every command)
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        from queuectl.model import mistakes

        why, cause, hint = mistakes.in_toml(error, text)
        raise InvalidSettingsError(
            f"{path or SETTINGS_NAME} is not valid TOML: {why}", path=path, cause=cause, hint=hint
        ) from error


def _collect(found: list[dict[str, Any]], path: str, *parts: Callable[[], dict[str, Any]]) -> None:
    """Fill `found` with what each part gives. Raises one InvalidSettingsError with the mistakes of all."""
    errors: list[InvalidSettingsError] = []
    for part in parts:
        try:
            found.append(part())
        except InvalidSettingsError as error:
            errors.append(error)
    if errors:
        raise _together(errors, path)


def _together(errors: Sequence[InvalidSettingsError], path: str) -> InvalidSettingsError:
    """Several errors of one file as one."""
    if len(errors) == 1:
        return errors[0]
    from queuectl.model import mistakes

    texts = [text for error in errors for text in error.mistakes or (str(error),)]
    return InvalidSettingsError(
        f"{path or SETTINGS_NAME}: {mistakes.in_words(texts)}",
        path=path,
        key=errors[0].key,
        hint=_LIST_HINT,
        mistakes=tuple(texts[: mistakes.NAMED_AT_MOST]),
    )


def _checked(table: Mapping[str, Any], path: str, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    errors: list[InvalidSettingsError] = []
    for key, value in flat(table).items():
        if key in _SECTIONS:
            continue
        try:
            values[key] = check(key, value) if key in _BY_NAME else _unknown(key)
        except InvalidSettingsError as error:
            told = f"{_line_of(text, key)}{error}"
            errors.append(
                InvalidSettingsError(
                    f"{path or SETTINGS_NAME}: {told}", path=path, key=key, hint=error.hint, mistakes=(told,)
                )
            )
    if errors:
        raise _together(errors, path)
    return values


def _unknown(key: str) -> Any:
    """Raise the error for a key that is no setting."""
    inner = [name.partition(".")[2] for name in _BY_NAME if name.startswith(f"{key}.")]
    if inner:
        raise InvalidSettingsError(f"{key}: takes a table: [{key}], and in it {', '.join(inner)}", hint=_LIST_HINT)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), [*_BY_NAME, *_SECTIONS], n=1, cutoff=0.5)
    told = f"; did you mean {near[0]}?" if near else ""
    raise InvalidSettingsError(f"{key[:60]}: is an unknown key{told}", key=key, hint=_LIST_HINT)


def _line_of(text: str, key: str) -> str:
    """`line 3: ` for a key that is on one line of a file only, or ""."""
    last = key.rpartition(".")[2]
    begins = (f"{last} ", f"{last}=", f'"{last}"', f"[{last}]", f"[[{last}]]")
    found = [number for number, line in enumerate(text.split("\n"), 1) if line.lstrip().startswith(begins)]
    return f"line {found[0]}: " if len(found) == 1 else ""


def _sections(table: Mapping[str, Any], path: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """The fields of `Settings` that are more than one line; their modules are loaded where the file has any."""
    if "inbox" in table:
        from queuectl.model import inbox

        yield lambda: {"inboxes": inbox.parse(table["inbox"], path=path)}
    if "commands" in table:
        from queuectl.model import command

        yield lambda: {"commands": command.parse(table["commands"], path=path)}


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed settings file with the keys of its tables written with a dot."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in _TABLES and isinstance(value, dict):
            found.update({f"{key}.{inner}": each for inner, each in value.items()})
        else:
            found[key] = value
    return found


def show(value: Any) -> str:
    """A setting's value as it is written in the file and shown to a person."""
    if isinstance(value, list | tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else f"{value}"


def from_word(name: str, word: str) -> Any:
    """The TOML value for what was typed on a command line (`5`, `0.5`, `10m`, `full`, `["a", "b"]`), checked.

    Raises:
        InvalidSettingsError: as `check`.
    """
    known = setting(name)
    if word.startswith("["):
        try:
            listed = json.loads(word)
        except (ValueError, RecursionError):
            listed = word
        check(known.name, listed)
        return listed
    if isinstance(known.default, bool) and word.lower() in ("true", "false"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            value: Any = kind(word)
        except ValueError:
            continue
        check(known.name, value)
        return value
    check(known.name, word)
    return word


def default_text() -> str:
    """The commented queuectl.toml of a new spool: every setting with its meaning, range and default."""
    lines = [
        "# Settings of this queuectl spool (TOML). Take away the # in front of a setting to change it, or type:",
        "#     queuectl config set max-retries 5",
        "# Workers read this file when they start, and refuse to start on a mistake in it.",
    ]
    for known in SETTINGS:
        shown = f'"{known.default}"' if isinstance(known.default, str) else show(known.default)
        lines += ["", f"# {known.meaning}", f"# Takes {known.allowed}.", f"# {known.name} = {shown}"]
    from queuectl.model import command, inbox

    lines += ["", *inbox.example(), "", *command.example()]
    return "\n".join(lines) + "\n"
