"""rate: what a rate may look like, and what the settings say of nonsense."""

from __future__ import annotations

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.model import rate, settings
from queuectl.model.queues import Place, Queue, counts_alike, place, rates_of
from queuectl.model.rate import Rate


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("100/1m", Rate(100, 60.0)),
        (" 5 / 1h30m ", Rate(5, 5400.0)),
        ("7/s", Rate(7, 1.0)),
        ("10000/0.1s", Rate(10_000, 0.1)),
        ("1/86400", Rate(1, 86400.0)),
    ],
)
def test_rates(text: str, made: Rate) -> None:
    """A number of starts, and a duration, whose number may be left out."""
    assert rate.of(rate.check(text)) == made


@pytest.mark.parametrize(
    "value",
    ["100", "/1m", "0/1m", "-1/1m", "1.5/1m", "10001/1m", "1/0s", "1/367d", "1/m1", "1 per 1m", 5, 1.0, True, []],
)
def test_nonsense_is_refused_with_the_form(value: object) -> None:
    """The error names the key, the form with an example, and what was given."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.check("queues.api.rate", value)
    assert str(caught.value).startswith("queues.api.rate: takes a number of starts from 1 to 10000")
    assert '"100/1m"' in str(caught.value)


def test_no_rate_is_an_empty_text() -> None:
    """ "" takes the limit away."""
    assert rate.of(rate.check("")) is None


@pytest.mark.parametrize(
    ("key", "near"),
    [("rates", "rate"), ("rate_limit", "rate"), ("halt-afer", "halt_after"), ("rate_perkey", "rate_per_key")],
)
def test_misspelt_key_names_the_near_one(key: str, near: str) -> None:
    """An unknown key of a queue is an error that asks for the one that was meant."""
    with pytest.raises(InvalidSettingsError, match=f"unknown key; did you mean {near}"):
        settings.parse(f"[queues.api]\n{key} = 1\n")


def test_settings_of_a_queue() -> None:
    """The values that queuectl.toml gives, as the gate uses them."""
    text = '[queues.api]\nrate = "100/1m"\nrate_per_key = "1/s"\nhalt_share = 0.5\nhalt_of = 4\nhalt_for = "10m"\n'
    limits = settings.parse(text).queues["api"]
    assert limits == Queue(rate="100/1m", rate_per_key="1/1s", halt_share=0.5, halt_of=4, halt_for=600.0)
    assert settings.parse('[queues.api]\nhalt_for = "forever"\n').queues["api"].halt_for is None
    for wrong in ("halt_after = 201", "halt_share = 1.5", "halt_of = 1", 'halt_for = "0s"', "halt_after = true"):
        with pytest.raises(InvalidSettingsError, match=f"queues.api.{wrong.partition(' ')[0]}: takes"):
            settings.parse(f"[queues.api]\n{wrong}\n")


def test_who_passes_a_gate() -> None:
    """A rate or a circuit breaker brings each job of the queue to the gate, a rate per key those with a key."""
    assert place("api", "", "", {"api": Queue(rate_per_key="1/1s")}) is None
    assert place("api", "", "", {"api": Queue(halt_after=1)}) == Place("api", "", 0, 1, Queue(halt_after=1))
    both = place("api", "k", "", {"api": Queue(rate="9/1s", rate_per_key="1/1s")})
    assert both is not None
    assert rates_of(both) == (("k", Rate(1, 1.0)), ("", Rate(9, 1.0)))
    assert rates_of(Place("api", "k", 1, 1)) == ()


def test_board_is_kept_if_all_jobs_passed_the_gate() -> None:
    """Only a gate that some jobs did not pass, or with another key, makes its board again."""
    assert counts_alike(Queue(slots=1), Queue(rate="1/1s"))
    assert counts_alike(Queue(halt_after=2), Queue(halt_after=3, slots=1))
    assert not counts_alike(Queue(), Queue(slots=1))
    assert not counts_alike(Queue(rate_per_key="1/1s"), Queue(slots=1))
    assert not counts_alike(Queue(slots=1), Queue(slots=1, key="owner"))
