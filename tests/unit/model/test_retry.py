"""retry: how long a failed job waits."""

from __future__ import annotations

import random

import pytest

from queuectl.model import retry

RNG = random.Random(1)


def _delays(base: float, count: int, longest_s: float = 3600.0) -> list[float]:
    return [
        retry.backoff_s(number, base=base, longest_s=longest_s, jitter=0, rng=RNG) for number in range(1, count + 1)
    ]


def test_backoff_is_the_exact_power_of_the_base() -> None:
    """Without jitter the n-th wait is exactly base ** n."""
    assert _delays(2, 6) == [2, 4, 8, 16, 32, 64]
    assert _delays(1.5, 3) == [1.5, 2.25, 3.375]
    assert _delays(10, 3) == [10, 100, 1000]


def test_backoff_stops_at_the_longest_wait() -> None:
    """No wait is longer than backoff_max, however many failures."""
    assert _delays(2, 14)[-3:] == [3600.0, 3600.0, 3600.0]
    assert _delays(2, 3, longest_s=0.5) == [0.5, 0.5, 0.5]
    assert _delays(2, 2, longest_s=0) == [0, 0]


def test_backoff_of_bases_up_to_one() -> None:
    """Base 0 is at once, base 1 is every second, a fraction shrinks."""
    assert _delays(0, 3) == [0, 0, 0]
    assert _delays(1, 3) == [1, 1, 1]
    assert _delays(0.5, 2) == [0.5, 0.25]


@pytest.mark.parametrize("base", [0.0, 5e-324, 0.5, 1.0, 1.0 + 2**-52, 1.0000001, 2, 1e6, 1e200, 1.7e308])
@pytest.mark.parametrize("failures", [1, 2, 10, 1_000_000, 10**18])
@pytest.mark.parametrize("longest_s", [0.0, 1e-9, 1.0, 3600.0, 3e9, 1e308])
def test_no_base_and_no_count_can_overflow(base: float, failures: int, longest_s: float) -> None:
    """Absurd retry settings give a wait within bounds, never an error (P6)."""
    delay_s = retry.backoff_s(failures, base=base, longest_s=longest_s, jitter=0, rng=RNG)
    assert 0 <= delay_s <= longest_s


def test_jitter_moves_the_wait_by_its_share_at_most() -> None:
    """Jitter 0.5 on 8 seconds lies between 4 and 12, on both sides, and never beyond the longest wait."""
    drawn = [retry.backoff_s(3, base=2, longest_s=3600, jitter=0.5, rng=RNG) for _ in range(500)]
    assert 4 <= min(drawn) < 6 and 10 < max(drawn) <= 12
    assert max(retry.backoff_s(3, base=2, longest_s=8, jitter=1, rng=RNG) for _ in range(100)) <= 8
