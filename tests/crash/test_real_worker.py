"""What only a whole worker shows: an outcome that the disk refuses is kept, a job that was dragged away runs again."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from queuectl.model.lifecycle import DONE
from queuectl.spool.folder import SpoolDir
from queuectl.worker import desk, recorder, run
from tests.crash import driver
from tests.crash.driver import OPERATIONS, Hands, Template
from tests.crash.inject import Plan, injected
from tests.helpers import wait_until
from tests.pool import AT_ONCE_NS, Pool, Witness, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for POSIX calls")


def test_an_outcome_that_the_disk_refuses_is_kept_until_it_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4, P9: the append of the outcome fails with ENOSPC, twice more, and then the job is done after its one run."""
    monkeypatch.setattr(recorder, "_RETRY_SETTLE_S", (0.001,))
    # What calls the worker makes is not to depend on how fast the machine is: see `_quick` in test_faults.
    monkeypatch.setattr(desk, "_SAME_STAMP_S", 3600.0)
    monkeypatch.setattr(run, "_LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(driver, "_DEFAULTS", driver._DEFAULTS._replace(output_max=None))
    template = Template(OPERATIONS["work: success"], tmp_path)
    plan, hands = Plan(), Hands(template.copy(), "counting")
    with injected(plan):
        hands.work("job.json")
    outcome = [call for call in plan.calls if call.kind == "write"][-1]
    root = template.copy()
    hands = Hands(root, "swept")
    plan = Plan(outcome.number, "short", code=errno.ENOSPC, stays=2)
    with injected(plan), pytest.raises(OSError, match="cannot record how job ended: No space left"):
        hands.work("job.json")
    assert plan.happened is not None and plan.happened.kind == "write"
    assert hands.events(DONE, "job.json") == ["enqueued", "started", "succeeded"]
    assert (root / "witness.job").read_text() == "S 1\nE 1\n"


def test_a_job_dragged_out_of_running_runs_again_once_its_command_has_ended(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: while the command runs the file waits in pending/; then it need not wait for the worker to end too."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=witness.gate))
    with Pool(spool, count=1) as pool:
        wait_until(lambda: witness.starts("job"))
        os.rename(spool.path("running", "job.json"), spool.path("pending", "job.json"))
        witness.open_gate()
        pool.event("succeeded", "job")
    assert witness.overlapping() == []
    first_end, second_start = witness.ends("job")[0], witness.starts("job")[1]
    assert 0 < second_start - first_end < AT_ONCE_NS
