"""ticks: the steps of every 0.2 s."""

from __future__ import annotations

from queuectl.pool.ticks import TICK_S, Plan, Ticks


class Noted:
    """Ticks whose steps note that they were done."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_in_place = True
        self.ticks = Ticks(
            Plan(
                first=lambda _: self.said.append("first"),
                is_in_place=lambda _: self.is_in_place,
                steps=[lambda _: self.said.append("one"), lambda _: self.said.append("two")],
                without_spool=lambda: self.said.append("away"),
            )
        )


def test_steps_are_done_in_order_once_a_tick() -> None:
    """A round of the loop between two ticks does nothing."""
    noted = Noted()
    for now_s in (0.0, TICK_S / 2, TICK_S):
        noted.ticks.step(now_s)
    assert noted.said == ["first", "one", "two"] * 2
    assert noted.ticks.due_s() == 2 * TICK_S


def test_without_its_spool_a_pool_does_no_step() -> None:
    """P3, P9: requests to stop are still looked for, and workers that ended without a word."""
    noted = Noted()
    noted.is_in_place = False
    noted.ticks.step(0.0)
    assert noted.said == ["first", "away"]


def test_a_tick_can_be_had_at_once() -> None:
    """P5: when a worker is gone, its job is looked for in the next round."""
    noted = Noted()
    noted.ticks.step(0.0)
    noted.ticks.soon()
    noted.ticks.step(0.01)
    assert noted.said == ["first", "one", "two"] * 2
