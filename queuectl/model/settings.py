"""Converts the settings of a spool from the text of queuectl.toml and back.

`setting` has the table of all settings, `spool.settings_file` reads and changes the file.
"""

# Annotations are evaluated here: as texts, `typing` compiles each field of each named tuple, 0.1 ms a class.

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl.errors import InvalidSettingsError
from queuectl.model.job import RetryDefaults
from queuectl.model.setting import SETTINGS, Setting

if TYPE_CHECKING:
    from queuectl.model.command import Command
    from queuectl.model.inbox import Inbox
    from queuectl.model.queues import Queue

SETTINGS_NAME = "queuectl.toml"
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_LIST_HINT = "to see the allowed values: queuectl config list"
# Sections of several lines, which `queuectl config set` cannot change.
_SECTIONS = ("inbox", "commands")
QUEUES = "queues"
_TABLES = frozenset(setting.name.partition(".")[0] for setting in SETTINGS if "." in setting.name)


class Settings(NamedTuple):
    """The settings in use, durations in seconds; None for `keep_*`, `timeout` and `output_max` means no limit."""

    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    timeout: float | None
    output_max: int | None
    give_up_after: float | None
    snooze_exit_codes: tuple[int, ...]
    snooze_max: float
    after_grace: float
    settle_s: float
    scan_s: float
    worker_processes: int | None
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
    on_halt: tuple[str, ...]
    stale_after: float
    cluster_scheduler: str
    cluster_keys: str
    cluster_slots: int
    cluster_lease: float
    cluster_output_max: int
    cluster_take: str
    cluster_insecure: bool
    cluster_bridge_user: str
    inboxes: tuple["Inbox", ...] = ()
    commands: Mapping[str, "Command"] = {}
    queues: Mapping[str, "Queue"] = {}
    """A running pool changes these in place (`queues.replace`)."""

    @property
    def retry_defaults(self) -> RetryDefaults:
        """The retry settings for a job without its own."""
        return RetryDefaults(self.max_retries, self.backoff_base, self.backoff_max, self.jitter, self.queues)


# Settings that a running pool can take over: they concern the next attempts only.
RELOADABLE = (
    "max_retries",
    "backoff_base",
    "backoff_max",
    "jitter",
    "timeout",
    "output_max",
    "give_up_after",
    "snooze_exit_codes",
    "snooze_max",
    "kill_grace_s",
    "shell",
)


def reload(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return `old` with what a running pool takes over from `new`, and the names of changed settings that it does not.

    An inbox or a command that changed is named by its table.
    """
    made = old._replace(**{field: getattr(new, field) for field in RELOADABLE})
    held = [known.name for known in SETTINGS if getattr(made, known.field) != getattr(new, known.field)]
    held += [f"[{name}]" for name in ("inboxes", "commands") if getattr(made, name) != getattr(new, name)]
    return made, held


def setting(name: str) -> Setting:
    """Return the setting `name`. Dashes and underscores are interchangeable, and case does not matter.

    Raises:
        InvalidSettingsError: there is no such setting; the hint names the nearest.
    """
    if name.startswith(f"{QUEUES}."):
        from queuectl.model import queues  # imported only for a spool with such settings

        return queues.setting(name.strip())
    folded = name.strip().lower().replace("-", "_")
    if folded in _BY_NAME:
        return _BY_NAME[folded]
    import difflib  # for a mistake only

    near = difflib.get_close_matches(folded, _BY_NAME, n=1, cutoff=0.5)
    raise InvalidSettingsError(
        f"there is no setting {name[:60]!r}",
        key=name,
        hint=f"did you mean {near[0]}?" if near else _LIST_HINT,
    )


def check(name: str, value: Any, *, path: str = "") -> Any:
    """Return the value to use for a TOML value of the setting `name`.

    Raises:
        InvalidSettingsError: the value is not allowed; the error names the allowed values.
    """
    known = setting(name)
    try:
        return known.check(value)
    except ValueError:
        pass
    from queuectl.model import mistakes  # imported only for an error

    text = f"{known.name}: takes {known.allowed}, not {mistakes.shown(value)}"
    where = f"{path}: " if path else ""
    raise InvalidSettingsError(
        where + text, path=path, key=known.name, hint=_unquoted(known, value) or _LIST_HINT, mistakes=(text,)
    )


def _unquoted(known: Setting, value: Any) -> str:
    """Return the hint for a number or a word in unneeded quotes, or ""."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            known.check(json.loads(value))
            return f"write {value} without quotes"
    return ""


def defaults() -> Settings:
    """Return the default settings."""
    return Settings(**{known.field: known.check(known.default) for known in SETTINGS})


def parse(text: str, *, path: str = "") -> Settings:
    """Return the settings of a queuectl.toml with this text.

    Raises:
        InvalidSettingsError: invalid TOML, an unknown key or a value out of range; the error names the file, the key
            and the allowed values.
    """
    table = read_table(text, path=path)
    found: list[dict[str, Any]] = []
    _collect(found, path, lambda: _checked(table, path, text), *_sections(table, path))
    values, *sections = found
    made = defaults()._replace(**{_BY_NAME[name].field: value for name, value in values.items() if name in _BY_NAME})
    if of_queues := {name: value for name, value in values.items() if name not in _BY_NAME}:
        from queuectl.model import queues

        made = made._replace(queues=queues.parse(of_queues))
    for section in sections:
        made = made._replace(**section)
    _check_together(sections, path)
    return made


def given(text: str, *, path: str = "") -> dict[str, Any]:
    """Return only the settings that the text sets; also check the inboxes and commands. Raises as `parse`."""
    table = read_table(text, path=path)
    found: list[dict[str, Any]] = []
    _collect(found, path, lambda: _checked(table, path, text), *_sections(table, path))
    _check_together(found[1:], path)
    return found[0]


def read_table(text: str, *, path: str = "") -> dict[str, Any]:
    """Parse the text as TOML; its values may be invalid.

    Raises:
        InvalidSettingsError: it is not TOML; the error names and shows the line.
    """
    if all(not line or line.startswith("#") for line in text.splitlines()):
        return {}  # the file as `init` makes it: this saves the import of the parser (4 ms of each command)
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
    """Add the result of each part to `found`. Raises one InvalidSettingsError with all mistakes."""
    errors: list[InvalidSettingsError] = []
    for part in parts:
        try:
            found.append(part())
        except InvalidSettingsError as error:
            errors.append(error)
    if errors:
        raise _together(errors, path)


def _together(errors: Sequence[InvalidSettingsError], path: str) -> InvalidSettingsError:
    """Join several errors of one file into one."""
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
            values[key] = check(key, value) if key in _BY_NAME or key.startswith(f"{QUEUES}.") else _unknown(key)
        except InvalidSettingsError as error:
            mistake = f"{_line_of(text, key)}{error}"
            errors.append(
                InvalidSettingsError(
                    f"{path or SETTINGS_NAME}: {mistake}", path=path, key=key, hint=error.hint, mistakes=(mistake,)
                )
            )
    if errors:
        raise _together(errors, path)
    return values


def _unknown(key: str) -> Any:
    """Raise InvalidSettingsError for a key that is not a setting."""
    inner = [name.partition(".")[2] for name in _BY_NAME if name.startswith(f"{key}.")]
    if inner:
        raise InvalidSettingsError(f"{key}: takes a table [{key}] with {', '.join(inner)}", hint=_LIST_HINT)
    if key == QUEUES:
        raise InvalidSettingsError("queues: takes tables [queues.NAME], one per queue", key=key, hint=_LIST_HINT)
    import difflib

    near = difflib.get_close_matches(key.lower().replace("-", "_"), [*_BY_NAME, *_SECTIONS, QUEUES], n=1, cutoff=0.5)
    question = f"; did you mean {near[0]}?" if near else ""
    raise InvalidSettingsError(f"{key[:60]}: unknown key{question}", key=key, hint=_LIST_HINT)


def _line_of(text: str, key: str) -> str:
    """Return `line 3: ` for a key on exactly one line of the file, else ""."""
    last = key.rpartition(".")[2]
    begins = (f"{last} ", f"{last}=", f'"{last}"', f"[{last}]", f"[[{last}]]")
    found = [number for number, line in enumerate(text.split("\n"), 1) if line.lstrip().startswith(begins)]
    return f"line {found[0]}: " if len(found) == 1 else ""


def _sections(table: Mapping[str, Any], path: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Yield parsers for the sections of several lines; import their modules only if the file has such sections."""
    if "inbox" in table:
        from queuectl.model import inbox

        yield lambda: {"inboxes": inbox.parse(table["inbox"], path=path)}
    if "commands" in table:
        from queuectl.model import command

        yield lambda: {"commands": command.parse(table["commands"], path=path)}


def _check_together(sections: list[dict[str, Any]], path: str) -> None:
    """Check what an inbox says of a command in another section. Raises InvalidSettingsError."""
    found = {key: value for section in sections for key, value in section.items()}
    if "inboxes" in found:
        from queuectl.model import inbox

        inbox.check_templates(found["inboxes"], found.get("commands", {}), path=path)


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parsed settings file with dotted names for the keys of its tables."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in _TABLES and isinstance(value, dict):
            found.update({f"{key}.{inner}": each for inner, each in value.items()})
        elif key == QUEUES and isinstance(value, dict):
            for queue, table_of in value.items():
                named = table_of.items() if isinstance(table_of, dict) else [("", table_of)]
                found.update({f"{key}.{queue}{f'.{inner}' if inner else ''}": each for inner, each in named})
        else:
            found[key] = value
    return found


def show(value: Any) -> str:
    """Return the text of a setting's value, for the file and for people."""
    if isinstance(value, list | tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else f"{value}"


def from_word(name: str, word: str) -> Any:
    """Convert a word of a command line (`5`, `0.5`, `10m`, `full`, `["a", "b"]`) to a checked TOML value.

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
    """Return the commented queuectl.toml of a new spool: each setting with its meaning, range and default."""
    import textwrap

    lines = [
        "# Settings of this queuectl spool (TOML). To change a setting, remove the # before it and edit it, or type:",
        "#     queuectl config set max-retries 5",
        "# Workers read this file when they start; see also `queuectl worker reload`. A mistake prevents a start.",
    ]
    for known in SETTINGS:
        shown = f'"{known.default}"' if isinstance(known.default, str) else show(known.default)
        lines += ["", *textwrap.wrap(known.meaning, 118, initial_indent="# ", subsequent_indent="# ")]
        lines += [f"# Allowed: {known.allowed}.", f"# {known.name} = {shown}"]
    from queuectl.model import command, inbox, queues

    lines += ["", *queues.example(), "", *inbox.example(), "", *command.example()]
    return "\n".join(lines) + "\n"
