"""Warns about unknown keys of a document, which are kept and ignored: a key may be a known key in other words."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence

# The most keys to compare with the known keys: a file full of strange keys must not take seconds.
_WARN_AT_MOST = 50
_WARN_CHARS = 40
# The most other ignored keys to name.
_NAMED_AT_MOST = 5

# Keys of other queues' files, notes, and what an inbox adds. They are kept, ignored, and not worth a warning.
_IGNORED_KEYS = frozenset(
    """state status attempts attempt created_at updated_at started_at finished_at completed_at next_run_at last_error
    error exit_code worker worker_id locked_by result name description comment note notes version $schema template
    params signed_by signed_until""".split()  # noqa: SIM905 (a list is 24 lines)
)
# The names of a key in other queues and tools.
_SYNONYMS = {
    "max_retries": "retries retry attempts_max max_attempts tries max_tries retry_limit retry_count",
    "command": "cmd run exec script shell argv args program",
    "cwd": "dir directory folder workdir working_dir working_directory chdir",
    "env": "environment envs environ variables vars",
    "tags": "labels label keywords",
    "run_at": "at when start_at schedule_at scheduled_at scheduled_for not_before eta execute_at",
    "priority": "prio importance weight rank",
    "delay": "wait countdown defer start_in",
    "timeout": "time_limit max_runtime max_duration ttl deadline max_time",
    "backoff_base": "backoff backoff_factor retry_backoff",
    "backoff_max": "max_backoff backoff_limit retry_delay_max",
    "no_retry_exit_codes": "no_retry no_retry_on stop_codes fatal_exit_codes",
    "retry_exit_codes": "retry_on retry_codes",
    "expires_at": "expires expire_at expiry expiration not_after latest_start start_before",
    "expires_after": "expires_in expire_after expire_in start_within",
    "output_max": "max_output output_limit log_max",
    "owner": "user username author",
    "id": "job_id jobid uuid key",
    "meta": "metadata data extra extras custom info payload",
}
_MEANT = {synonym.replace("_", ""): known for known, words in _SYNONYMS.items() for synonym in words.split()}


def nearest(known: str, keys: Iterable[str]) -> str:
    """Return the key of a document that most resembles a missing known key, or ""."""
    compared = [key for key in itertools.islice(keys, _WARN_AT_MOST) if len(key) <= _WARN_CHARS]
    near = difflib.get_close_matches(known, compared, n=1, cutoff=0.6)
    return near[0] if near else ""


def warnings(unknown: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return warnings about ignored keys: one for each key that resembles a known key, one for all others."""
    found: list[str] = []
    others: list[str] = []
    for number, key in enumerate(unknown):
        if key in _IGNORED_KEYS or key[:2].lower() == "x-":
            continue
        meant = _meant(key, known) if number < _WARN_AT_MOST and len(key) <= _WARN_CHARS else ""
        if meant:
            found.append(f"the key {key!r} is ignored; did you mean {meant!r}?")
        else:
            others.append(key)
    if others:
        named = ", ".join(repr(key[:_WARN_CHARS]) for key in others[:_NAMED_AT_MOST])
        more = f" and {len(others) - _NAMED_AT_MOST} more" if len(others) > _NAMED_AT_MOST else ""
        keys = "the key" if len(others) == 1 else "the keys"
        are = "is" if len(others) == 1 else "are"
        found.append(f'{keys} {named}{more} {are} unknown and ignored; put your own data into "meta"')
    return found


# Short words resemble words with another meaning too much.
_NEAR_FROM_CHARS = 6


def _meant(key: str, known_keys: Sequence[str]) -> str:
    """Return the known key that an unknown key resembles, or ""."""
    folded = "".join(letter for letter in key.lower() if letter not in "-_ ")
    for known in known_keys:
        if known.replace("_", "") == folded:
            return known
    if folded in _MEANT:
        return _MEANT[folded]
    if near := difflib.get_close_matches(key.lower(), known_keys, n=1, cutoff=0.75):
        return near[0]
    near = difflib.get_close_matches(folded, _MEANT, n=1, cutoff=0.85) if len(folded) >= _NEAR_FROM_CHARS else []
    return _MEANT[near[0]] if near else ""


def queue_warnings(queue: str | None, named: Iterable[str]) -> list[str]:
    """Return a warning for a queue that looks like a misspelt one of those that the settings name."""
    known = [*named, "default"]
    near = [] if queue is None or queue in known else difflib.get_close_matches(queue, known, n=1, cutoff=0.75)
    return [f"the settings do not name the queue {queue!r}; did you mean {each!r}?" for each in near]
