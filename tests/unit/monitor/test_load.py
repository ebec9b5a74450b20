"""load: throughput and depth over the last hour and day."""

from __future__ import annotations

import os

from queuectl.monitor import load
from queuectl.monitor.rows import Bucket, Load
from queuectl.spool.counts import Counts, Row
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT

NOON = int(NOON_AT)


def test_every_span_has_a_bucket() -> None:
    """60 minutes and 96 quarters of an hour, also where nothing happened and nobody looked; now is a sample."""
    known = Counts(minutes=(Row(NOON - 60, 3, 1, 2, 9, 4),), quarters=(Row(NOON - 900, 30, 1, 2, 9, 4),))
    found = load.of(known, NOON_AT + 30, 5, 2)
    assert (len(found.hour), len(found.day)) == (60, 96)
    assert found.hour[-2:] == (Bucket(NOON - 60, 3, 1, 9, 4, 2), Bucket(NOON, 0, 0, 5, 2, 0))
    assert found.hour[0] == Bucket(NOON - 59 * 60, 0, 0, None, None, 0)
    assert found.day[-2:] == (Bucket(NOON - 900, 30, 1, 9, 4, 2), Bucket(NOON, 0, 0, 5, 2, 0))
    assert found.day[0].at == NOON - 95 * 900


def test_nothing_is_known_without_counts(spool: SpoolDir) -> None:
    """Without a file, or with something else in its place, there is no load to show."""
    assert load.read(spool) is None
    os.mkdir(spool.counts_path)
    assert load.read(spool) is None
    assert load.of(None, NOON_AT, 5, 2) == Load()
