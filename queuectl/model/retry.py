"""Computes the delay before the next attempt of a failed job. Computes only."""

from __future__ import annotations

import math
import random


def backoff_s(failures: int, *, base: float, longest_s: float, jitter: float, rng: random.Random) -> float:
    """Return the delay in seconds after the `failures`-th counted failure (1 or more).

    `min(longest_s, base ** failures)`, the exponential backoff of Ethernet's collision rule (Metcalfe and Boggs,
    1976) without its random choice; `jitter` (0 to 1) then changes it by up to that fraction, up or down. With jitter 0
    it is exactly `base ** failures`: 2, 4, 8, 16 ... for base 2.

    The exponent is limited before the power is computed, so no base and no count can overflow.
    """
    if base <= 0:
        delay_s = 0.0
    elif base <= 1:
        delay_s = min(longest_s, base ** min(failures, 1_000_000))
    else:
        # Beyond this exponent the power exceeds longest_s anyway.
        enough = math.ceil(math.log(max(longest_s, 1.0)) / math.log(base)) + 1
        try:
            delay_s = min(longest_s, float(base) ** failures if failures <= enough else longest_s)
        except OverflowError:  # a base near the largest float
            delay_s = longest_s
    if jitter and delay_s:
        delay_s = min(longest_s, delay_s * (1 + jitter * (2 * rng.random() - 1)))
    return delay_s
