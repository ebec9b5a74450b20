"""times, names, retry, lifecycle, job: what holds for every input."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJobError
from queuectl.model import job, lifecycle, names, retry, times
from queuectl.model.job import RetryDefaults
from queuectl.model.lifecycle import Outcome, Policy, Spent
from tests.helpers import NOON_AT

instants = st.floats(0, 9e9)  # to the year 2255; later a float no longer holds its milliseconds
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True).filter(lambda made: not names.why_bad_id(made))
RNG = random.Random(1)


@given(instants)
def test_instant_as_text_comes_back_within_a_millisecond(instant_at: float) -> None:
    """Writing an instant loses less than a millisecond, and never makes it later."""
    back = times.from_text(times.to_text(instant_at))
    assert -0.00101 <= back - instant_at <= 0.00011


@given(instants)
def test_instant_as_name_comes_back_never_earlier(instant_at: float) -> None:
    """A name never says that a job is due before it is."""
    back = times.from_name(times.to_name(instant_at))
    assert back is not None
    assert -0.00011 <= back - instant_at <= 0.00101


@given(instants)
def test_rounded_instant_is_the_same_in_text_and_name(instant_at: float) -> None:
    """The due time in a record and the one in its name are one."""
    rounded = times.round_up(instant_at)
    assert times.from_name(times.to_name(rounded)) == times.from_text(times.to_text(rounded))
    assert times.round_up(rounded) == rounded


@given(instants, instants)
def test_names_sort_by_time(one_at: float, other_at: float) -> None:
    """Names of whole seconds sort like their instants."""
    one, other = times.to_name(int(one_at)), times.to_name(int(other_at))
    assert (one < other) == (int(one_at) < int(other_at))


@given(st.floats(0, times.LONGEST_S))
def test_shown_duration_reads_back_nearly_the_same(seconds: float) -> None:
    """What a person is shown can be typed again, and means the same within its last unit."""
    back = times.parse_duration(times.format_duration(seconds))
    unit = 0.001 if seconds < 1 else 0.1 if seconds < 60 else 1 if seconds < 3600 else 60 if seconds < 86400 else 3600
    assert abs(back - seconds) <= unit


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_duration_text_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    """Units add up; a plain number is seconds."""
    hours %= 800_000
    total = hours * 3600 + minutes * 60 + seconds
    assert times.parse_duration(f"{hours}h{minutes}m{seconds}s") == total
    assert times.parse_duration(str(total)) == times.parse_duration(total) == total


@given(st.text(max_size=40) | st.integers() | st.floats() | st.none() | st.booleans())
def test_duration_of_anything_is_a_number_or_one_error(value: object) -> None:
    """No input is another error than ValueError, and no duration is out of range."""
    with contextlib.suppress(ValueError):
        assert 0 <= times.parse_duration(value) <= times.LONGEST_S


@given(st.text(max_size=40))
def test_instant_of_anything_is_a_number_or_one_error(text: str) -> None:
    """No text is another error than ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 <= times.from_text(text) <= times.LATEST_AT


owners = st.just("") | ids.map(lambda job_id: job_id[: names.OWNER_MAX_CHARS]).filter(
    lambda owner: not job.why_bad_owner(owner)
)


@given(ids, st.none() | instants, st.integers(-999_999, 999_999), owners)
def test_waiting_name_reads_back(job_id: str, due_at: float | None, priority: int, owner: str) -> None:
    """Id, due time, priority and owner survive the name, held or not, for every id and owner that is allowed."""
    due_at = None if due_at is None else times.round_up(due_at)
    name = names.waiting_name(job_id, due_at, priority, owner)
    assert names.parse(names.held_name(name)) == names.parse(name)
    parts = names.parse(name)
    assert parts is not None
    assert (parts.stem, parts.priority, parts.owner) == (job_id, priority, owner)
    assert (parts.due_at is None) == (due_at is None)
    assert due_at is None or parts.due_at is None or abs(parts.due_at - due_at) < 1e-4
    assert len(name) < 200


@given(st.text(max_size=300))
def test_any_stem_can_be_made_an_id(stem: str) -> None:
    """Whatever a file is called there is an id for it, and a good id stays as it is (P6)."""
    made = names.clean_id(stem)
    assert names.why_bad_id(made) == ""
    assert names.clean_id(made) == made
    assert names.why_bad_id(names.with_suffix(made, "20270115T080000-ab")) == ""
    assert names.parse(f"{made}.json") == names.NameParts(made, None, 0)


@given(st.text(max_size=60))
def test_any_file_name_can_be_looked_at(file_name: str) -> None:
    """No name in a folder is an error (P11)."""
    parts = names.parse(file_name)
    assert parts is None or file_name.endswith(".json")
    assert not (names.is_batch(file_name) and parts is not None)


@given(ids)
def test_case_never_changes_the_stripe(job_id: str) -> None:
    """All spellings of an id are guarded by one lock (P3)."""
    assert names.stripe_of(job_id) == names.stripe_of(job_id.upper()) == names.stripe_of(job_id.swapcase())


@given(st.integers(1, 60), st.integers(0, 1000))
def test_backoff_of_whole_bases_is_exact(failures: int, base: int) -> None:
    """Without jitter the wait is exactly min(backoff_max, base ** n), as whole numbers have it."""
    expected = min(3600, base**failures)
    assert retry.backoff_s(failures, base=base, longest_s=3600.0, jitter=0, rng=RNG) == expected


@given(
    st.integers(1, 10**9),
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
)
def test_backoff_of_anything_is_within_bounds(failures: int, base: float, longest_s: float, jitter: float) -> None:
    """No base, count, limit or jitter overflows, or leads out of 0 to the limit (P6)."""
    assert 0 <= retry.backoff_s(failures, base=base, longest_s=longest_s, jitter=jitter, rng=RNG) <= longest_s


@given(
    st.sampled_from(sorted(lifecycle.OUTCOMES)),
    st.none() | st.integers(-(2**31), 2**32),
    st.integers(0, 10**6),
    st.builds(
        Policy,
        st.integers(0, 10**6),
        st.floats(0, 1e6),
        st.floats(0, times.LONGEST_S),
        st.floats(0, 1),
        st.lists(st.integers(-5, 300), max_size=3).map(tuple),
        st.none(),
        st.none() | st.floats(0, 1e9),
        st.floats(0, 1e9),
    ),
    st.builds(
        Spent,
        st.floats(0, 2e9),
        st.floats(0, 2e9),
        st.integers(0, 10**6),
        st.floats(0, 2e9),
        st.none() | st.floats(0, times.LONGEST_S),
    ),
)
def test_every_run_leads_to_a_state_of_the_table(
    kind: str, exit_code: int | None, failures: int, policy: Policy, spent: Spent
) -> None:
    """A decision is always a move that exists, and no job has more runs than its budget (P2)."""
    decision = lifecycle.decide(Outcome(kind, exit_code), failures=failures, policy=policy, rng=RNG, spent=spent)
    lifecycle.check_move(lifecycle.RUNNING, kind, decision.to)
    longest_s = policy.backoff_max_s if kind != lifecycle.SNOOZED else times.LONGEST_S
    assert decision.delay_s is None or 0 < decision.delay_s <= max(longest_s, lifecycle.SNOOZE_LEAST_S)
    if kind in lifecycle.COUNTED and failures >= policy.max_retries:
        assert decision.to == lifecycle.DLQ


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(job.KNOWN_KEYS) | st.text(max_size=12), anything, max_size=6), anything)
def test_any_document_is_a_job_or_one_error(document: dict[str, Any], command: object) -> None:
    """No value of any key is another error than InvalidJobError, and what is accepted is accepted again (P6)."""
    defaults = RetryDefaults(3, 2, 3600.0, 0)
    for given_document in (document, {**document, "command": "true"}, {**document, "command": command}):
        try:
            made = job.normalise(given_document, defaults=defaults, now_at=NOON_AT)
        except InvalidJobError:
            continue
        again = job.normalise(made.spec, defaults=RetryDefaults(9, 9, 9, 0.5), now_at=NOON_AT)
        spec = {key: value for key, value in again.spec.items() if key != "jitter" or key in made.spec}
        assert repr(sorted(spec.items(), key=str)) == repr(sorted(made.spec.items(), key=str))
