"""What a keeper knows of a session."""

from __future__ import annotations

import pytest

from queuectl.cluster.protocol import EXIT, BeatRequest, RunEnd
from queuectl.cluster.sessions import Session, Sessions
from queuectl.cluster.wire import ProtocolError


def _beat(session: Session, token: int, **words: str) -> BeatRequest:
    return BeatRequest(session.name, "m", "abc123", 30.0, token, session.lease.grant)._replace(**words)


def test_only_a_beat_with_the_present_grant_prolongs() -> None:
    """P3: A token of the right number with another grant prolongs nothing."""
    session = Session("s", 1, 0.0)
    token = session.lease.make_token(0.0)
    session.prolong(_beat(session, token, grant="other"), 1.0)
    assert session.lease.left_s(1.0) == 0
    session.prolong(_beat(session, token), 1.0)
    assert session.lease.left_s(1.0) == 29.0


def test_a_renewed_lease_counts_its_tokens_on() -> None:
    """P3: No token has two meanings: a token of the lease before does not prolong the next."""
    session = Session("s", 1, 0.0)
    token, old = session.lease.make_token(0.0), session.lease.grant
    session.renew()
    assert session.lease.grant != old
    assert session.lease.make_token(0.0) > token


def test_fences_and_runs_are_remembered_for_a_lease() -> None:
    """P3: A run is refused for as long as a message that starts it may arrive; memory is bounded."""
    session = Session("s", 1, 0.0)
    session.prolong(_beat(session, session.lease.make_token(0.0)), 0.0)
    assert session.fence("a.b.1", 1.0)
    session.remember("a.c.1", 30.0)
    assert session.knows("a.b.1")
    session.remember("a.d.1", 40.0)
    assert not session.knows("a.b.1")
    assert session.knows("a.c.1")


def test_an_unknown_run_is_fenced_and_a_known_one_is_not() -> None:
    """A run that lives, or whose end is not acknowledged, goes its way."""
    session = Session("s", 1, 0.0)
    session.runs.add("a.b.1")
    session.ended["a.c.1"] = RunEnd("a.c.1", EXIT, 0, "", 0.0, 0)
    assert [session.fence(run, 0.0) for run in ("a.b.1", "a.c.1", "a.d.1")] == [False, False, True]


def test_a_silent_session_without_anything_is_forgotten() -> None:
    """Memory is bounded, and tokens still have one meaning."""
    sessions = Sessions()
    first = sessions.get("s", 0.0)
    token = first.lease.make_token(0.0)
    sessions.get("t", 4000.0)
    again = sessions.get("s", 4000.0)
    assert again is not first
    assert again.lease.make_token(4000.0) > token
    for number in range(998):
        sessions.get(str(number), 4000.0)
    for name, why in (("", "name of a worker"), ("a\n", "name of a worker"), ("one more", "has 1000 sessions")):
        with pytest.raises(ProtocolError, match=why):
            sessions.get(name, 4000.0)
