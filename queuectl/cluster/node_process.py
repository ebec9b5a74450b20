"""`queuectl cluster node`: keeps a dask worker running on this machine, and ends what runs here when it is stopped.

The dask worker finds or starts the keeper (`node`). So this process may be killed too: the keeper and its commands go
on, the dask worker ends, and the next `queuectl cluster node` finds the keeper in its scratch folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType

from queuectl.cluster import client, launch
from queuectl.cluster.launch import NodeOptions
from queuectl.cluster.scratch import Scratch, ScratchError
from queuectl.errors import ClusterError
from queuectl.system import processes

_AGAIN_S = 0.2
_AGAIN_AT_MOST_S = 5.0
# A dask worker that ran for so long is started again at once.
_LONG_S = 10.0
_WORKER_END_S = 5.0
# Longer than the grace of commands that do not say otherwise.
_KEEPER_END_S = 60.0


class _StopError(BaseException):
    """Somebody asked this process to end."""


def run(options: NodeOptions, *, slots: int, resources: Sequence[str], tell: Callable[[str], None]) -> None:
    """Run a node until SIGTERM or SIGINT, then end its commands. `resources`: NAME=NUMBER.

    Raises:
        ClusterError, UntrustedSpoolError: the keys, the address or the scratch folder cannot be used.
    """
    argv = launch.worker(options)
    try:
        Scratch(options.scratch).prepare()
    except (ScratchError, OSError) as error:
        raise ClusterError(f"the scratch folder cannot be used: {error}", hint="--scratch FOLDER") from error
    environment = {
        **launch.environment(options.scratch),
        "DASK_QUEUECTL__NAME": options.name,
        "DASK_QUEUECTL__SLOTS": str(slots),
        "DASK_QUEUECTL__RESOURCES": repr(" ".join(resources)),
        "DASK_QUEUECTL__PARENT": str(os.getpid()),
    }
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        _keep_running(argv, environment, tell)
    except _StopError:
        tell("ending the commands of this node")
        _end_keeper(options.scratch)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise _StopError


def _keep_running(argv: list[str], environment: dict[str, str], tell: Callable[[str], None]) -> None:
    """Start the dask worker again whenever it ends; end it when this process is stopped."""
    pause_s = _AGAIN_S
    while True:
        began_s = time.monotonic()
        # In a session of its own: Ctrl-C is for this process, which then ends the worker.
        with subprocess.Popen(argv, env=environment, start_new_session=True) as worker:
            try:
                code = worker.wait()
            except _StopError:
                worker.terminate()
                try:
                    worker.wait(_WORKER_END_S)
                except subprocess.TimeoutExpired:
                    worker.kill()
                raise
        pause_s = _AGAIN_S if time.monotonic() - began_s > _LONG_S else min(pause_s * 2, _AGAIN_AT_MOST_S)
        tell(f"the dask worker has ended (exit code {code}); another starts in {pause_s:g} s, commands go on")
        time.sleep(pause_s)


def _end_keeper(scratch: str) -> None:
    """Ask the keeper to end its commands and itself, and wait for that."""
    with contextlib.suppress(OSError):
        keeper = processes.find(client.keeper_pid(scratch))
        if keeper is None:
            return
        processes.send(keeper, signal.SIGTERM)
        deadline_s = time.monotonic() + _KEEPER_END_S
        while time.monotonic() < deadline_s and (left := processes.find(keeper.pid)) and left.key == keeper.key:
            if left.has_ended:
                return
            time.sleep(_AGAIN_S / 4)
