"""order: lines of keys, sorted when they are needed."""

from __future__ import annotations

import random

import pytest

from queuectl.model import order
from queuectl.model.order import Line


@pytest.mark.parametrize("seed", range(20))
def test_a_long_line_gives_its_keys_in_order_whatever_comes_between(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Very many keys are not sorted at once. That shows in nothing: neither in the order nor in the length."""
    monkeypatch.setattr(order, "_LATER_FROM", 30)
    monkeypatch.setattr(order, "_FIRST_KEYS", 10)
    monkeypatch.setattr(order, "_SAMPLE", 8)
    rng = random.Random(seed)
    keys = [f"{number:04d}" for number in range(400)]
    rng.shuffle(keys)
    gone: set[str] = set()
    line, waiting = Line(gone), set[str]()
    while keys or waiting:
        some = [keys.pop() for _ in range(min(len(keys), rng.choice([1, 3, 70, 100])))]
        line.add(some.copy())
        waiting.update(some)
        removed = {key for key in sorted(waiting) if rng.random() < 0.02}
        gone |= removed
        waiting -= removed
        assert len(line) == len(waiting) + len(gone)
        for _ in range(rng.choice([0, 5, 12, 60])):
            first = min(waiting, default=None)
            assert line.pop() == first
            waiting.discard(first or "")
