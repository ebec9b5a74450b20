"""The options of `queuectl enqueue` that are keys of a job: what was typed, its check, and how it replaces JSON."""

import os
from typing import Any, NamedTuple

from queuectl.cli import sources
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidJobError

# Options with the names of their keys, which they replace.
_PLAIN = (
    "id",
    "max_retries",
    "backoff_base",
    "backoff_max",
    "timeout",
    "priority",
    "owner",
    "queue",
    "key",
    "jitter",
    "output_max",
    "give_up_after",
    "snooze_max",
    "unique_until",
    "unique_for",
)
# Options with other names than their keys.
_OPTIONS = {
    "no_retry_exit_codes": "--no-retry-on",
    "retry_exit_codes": "--retry-on",
    "run_at": "--at",
    "expires_at": "--expires",
    "expires_after": "--expires",
    "snooze_exit_codes": "--snooze-on",
    "tags": "--tag",
    "resources": "--resource",
    "on_duplicate": "--replace",
}
_UNIQUE = "--unique"
SAME = "\0"
"""What stands for the key of `--unique` without one: no word of a command line can hold it."""


class Overrides(NamedTuple):
    """The typed options, which override the same keys in JSON. None means not typed."""

    id: str | None
    max_retries: int | None
    backoff_base: float | None
    backoff_max: str | None
    timeout: str | None
    priority: int | None
    delay: str | None
    at: str | None
    cwd: str | None
    env: list[str]
    tag: list[str]
    owner: str | None
    queue: str | None
    key: str | None
    jitter: float | None
    no_retry_on: list[int]
    retry_on: list[int]
    output_max: str | None
    minimal_env: bool
    resource: list[str]
    meta: list[str]
    stdin: bool
    stdin_file: str | None
    give_up_after: str | None
    snooze_on: list[int]
    snooze_max: str | None
    expires: str | None
    after: list[str]
    after_end: list[str]
    after_dead: list[str]
    unique: str | None
    unique_until: str | None
    unique_for: str | None
    replace: bool


def with_unique_key(words: list[str]) -> list[str]:
    """Return words of a command line in which each `--unique` has a key: the next word, or SAME."""
    made: list[str] = []
    for number, word in enumerate(words):
        made.append(word)
        if word == _UNIQUE and (number + 1 == len(words) or words[number + 1][:1] in ("-", "{", "[")):
            made.append(SAME)
    return made


def typed_keys(given: Overrides) -> dict[str, Any]:
    """Return the typed options as keys of a job. Raises WrongUsageError."""
    made: dict[str, Any] = {key: value for key in _PLAIN if (value := getattr(given, key)) is not None}
    if given.no_retry_on:
        made["no_retry_exit_codes"] = given.no_retry_on
    if given.retry_on:
        made["retry_exit_codes"] = given.retry_on
    if given.snooze_on:
        made["snooze_exit_codes"] = given.snooze_on
    if given.minimal_env:
        made["minimal_env"] = True
    if given.delay is not None and given.at is not None:
        raise WrongUsageError("--delay and --at cannot be combined", hint="remove one of them")
    if given.delay is not None:
        made["delay"] = given.delay
    if given.at is not None:
        made["run_at"] = sources.instant(given.at)
    if given.expires is not None:
        made |= sources.latest(given.expires)
    if parents := sources.parents(given.after, given.after_end, given.after_dead):
        made["after"] = parents
    if given.cwd is not None:
        made["cwd"] = os.path.abspath(given.cwd)
        if not os.path.isdir(made["cwd"]):
            printing.warning(f"the folder {made['cwd']} does not exist; the job fails if it is still missing then")
    if given.env:
        made["env"] = dict(map(sources.pair, given.env))
    if given.meta:
        made["meta"] = dict(sources.pair(text, "--meta") for text in given.meta)
    if given.resource:
        made["resources"] = dict(map(sources.amount, given.resource))
    if given.tag:
        made["tags"] = given.tag
    if given.stdin:
        made["stdin"] = sources.stdin_text()
    if given.unique is not None:
        made["unique"] = True if given.unique == SAME else given.unique
    if given.replace:
        made["on_duplicate"] = "replace"
    if given.stdin_file is not None:
        made["stdin_file"] = os.path.abspath(given.stdin_file)
        if not os.path.isfile(made["stdin_file"]):
            printing.warning(f"there is no file {made['stdin_file']}; the job fails if it is still missing then")
    return made


def check(typed: dict[str, Any]) -> None:
    """Raise WrongUsageError for invalid options: the command line is wrong then, not the job."""
    from queuectl.model import extras, job

    # The jobs may have the key that these options need.
    beside = {} if extras.UNIQUE_TERMS.isdisjoint(typed) else {"unique": "x"}
    try:
        job.normalise({"command": "true", **beside, **typed}, defaults=job.RetryDefaults(0, 0, 0, 0), now_at=0)
    except InvalidJobError as error:
        texts = tuple(map(_as_option, error.mistakes or (str(error),)))
        hint = "to list the options: queuectl enqueue --help"
        raise WrongUsageError("; ".join(texts), hint=hint, mistakes=texts) from error


def _as_option(text: str) -> str:
    """Return the description of a wrong key with the name of its option."""
    for key in ("retry_exit_codes", "no_retry_exit_codes"):
        if text.startswith(f"{key} and "):
            return "--retry-on and --no-retry-on cannot be combined"
    if text.startswith("stdin and "):
        return "--stdin and --stdin-file cannot be combined"
    key = text.partition(":")[0].partition(".")[0].partition("[")[0]
    return f"{_OPTIONS.get(key, '--' + key.replace('_', '-'))}{text[len(key) :]}"


def applied(document: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the typed options applied."""
    from queuectl.model import extras

    made = dict(document)
    if "delay" in typed or "run_at" in typed:
        made.pop("delay", None)
        made.pop("run_at", None)
    if not extras.EXPIRY_KEYS.isdisjoint(typed):
        for key in extras.EXPIRY_KEYS:
            made.pop(key, None)
    for key, value in typed.items():
        before = made.get(key)
        if key in ("env", "meta"):
            made[key] = {**(before if isinstance(before, dict) else {}), **value}
        elif key in ("stdin", "stdin_file"):
            made.pop("stdin_file" if key == "stdin" else "stdin", None)
            made[key] = value
        elif key == "tags":
            made[key] = list(dict.fromkeys([*(before if isinstance(before, list) else []), *value]))
        else:
            made[key] = value
    return made
