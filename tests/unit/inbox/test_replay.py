"""replay: a signed id is taken once."""

from __future__ import annotations

import os
import random
from pathlib import Path

from queuectl.inbox import replay
from queuectl.model import settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from tests.helpers import NOON_AT, FakeClock

HOUR_S = 3600.0


def remember(spool: SpoolDir, token: str, *, key: str = "anna", job_id: str = "j1") -> bool:
    """Take an id that counts for an hour."""
    session = Session(spool, settings.defaults(), FakeClock(), random.Random(token))
    return replay.remember(session, replay.Use(key, job_id, NOON_AT + HOUR_S), token)


def test_an_id_is_taken_once_and_by_its_own_token_again(spool: SpoolDir) -> None:
    """P10: a second file with the same payload is a replay; the hand-over that a crash cut off is none."""
    assert remember(spool, "t1")
    assert not remember(spool, "t2")
    assert not remember(spool, "t2", job_id="J1"), "ids that differ only in case are one"
    assert remember(spool, "t1")
    assert remember(spool, "t2", key="bert"), "each key has its own ids"
    assert os.listdir(spool.tmp_dir) == []


def test_keys_and_ids_cannot_be_put_together_otherwise(spool: SpoolDir) -> None:
    """Two pairs of key and id never share a name: no key ends in a dash or holds two together."""
    pairs = [("a", "b--c"), ("a-b", "c"), ("a", "b-c"), ("a_b", "c")]
    assert len({spool.signed_path(key, job_id) for key, job_id in pairs}) == len(pairs)


def test_ids_are_forgotten_only_a_day_after_they_have_expired(spool: SpoolDir) -> None:
    """What is forgotten could not be taken again anyway; what cannot be read stays."""
    remember(spool, "t1")
    Path(spool.signed_path("anna", "torn")).write_bytes(b"{")
    assert replay.sweep(spool, NOON_AT + HOUR_S + replay.MARGIN_S - 1) == 0
    assert not remember(spool, "t2")
    assert replay.sweep(spool, NOON_AT + HOUR_S + replay.MARGIN_S + 1) == 1
    assert os.listdir(spool.signed_dir) == ["anna--torn"]
    assert not remember(spool, "t3", job_id="torn")
