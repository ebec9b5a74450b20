"""A worker's claims without its commands, for tests: claims whatever waits in a spool, and settles it at once.

usage: claimer.py SPOOL NUMBER READY GO REPORT [unguarded]

Says that it is there by making the file READY, begins when GO exists, and writes the ids that it has won to REPORT.
`unguarded` takes the stripes out, to show what they are for.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from queuectl.jobs.claim import Claims
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed
from queuectl.model import settings
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import locks
from queuectl.system.clock import Clock


def main() -> None:
    root, number, ready, go, report = sys.argv[1:6]
    spool = SpoolDir(root)
    lease: Any = Lease(spool, f"claimer{number}")
    if sys.argv[6:]:
        lease.close()
        lease = SimpleNamespace(name="nobody.0")  # leases are locks too
        locks.FileLock.try_acquire = lambda _self: True  # type: ignore[method-assign]
        locks.FileLock.release = lambda _self: None  # type: ignore[method-assign]
    rng = random.Random(int(number))
    session, stripes = Session(spool, settings.defaults(), Clock(), rng), Stripes(spool)
    claims = Claims(session, stripes, worker=f"claimer{number}")
    settlements = Settlements(session, stripes)
    won: list[str] = []
    errors: list[str] = []
    Path(ready).touch()
    while not os.path.exists(go):
        pass
    # What nobody could win for a while stays: without stripes two claimers can spoil a file for each other.
    last_win_s = time.monotonic()
    while (names := sorted(spool.waiting_names())) and time.monotonic() - last_win_s < 5:
        for name in names:
            try:
                claimed = claims.claim(name, lease.name)
                if isinstance(claimed, Claimed):
                    won.append(claimed.job_id)
                    last_win_s = time.monotonic()
                    settlements.settle(claimed, Outcome("succeeded", 0))
            except OSError as error:
                errors.append(repr(error))
    Path(report).write_text(json.dumps({"won": won, "errors": errors}), encoding="utf-8")


if __name__ == "__main__":
    main()
