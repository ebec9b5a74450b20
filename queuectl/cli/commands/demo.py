"""`queuectl demo`: run a real queue, so that a newcomer sees everything that matters once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from queuectl.api import Spool
from queuectl.cli import context, group, program
from queuectl.cli.commands import listing
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.spool import create
from queuectl.spool.folder import SpoolDir

app = group.new_app()

_PATIENCE_S = 60.0
# Delays of 1.2 ** n seconds: long enough to see, short enough to watch.
_BASE = 1.2
_NEEDED = "needed.txt"


@app.command()
def demo() -> None:
    """Watch a real queue at work in less than a minute.

    Example: queuectl demo

    Workers run two jobs in a new folder, or in the folder of --spool. One job succeeds. The other fails until it is in
    the dead letter queue; then the demo removes the cause and retries the job. The folder stays, so that you can look
    at it.
    """
    before_s = time.monotonic()
    work_dir = tempfile.mkdtemp(prefix="queuectl-demo-")
    root = os.path.abspath(context.options.spool or os.path.join(work_dir, context.OWN_NAME))
    create.create(SpoolDir(root))
    spool = Spool(root)
    reader = "type" if os.name == "nt" else "cat"

    _say("1. Add two jobs. The first is fine, the second needs a file that does not exist:")
    good = _put(spool, "hello", "echo Hello World", work_dir)
    bad = _put(spool, "needy", f"{reader} {_NEEDED}", work_dir)

    _say("2. Start two workers, until the queue is empty:", "queuectl worker start --count 2 --drain")
    _drain(root)
    _expect(spool, good, DONE)
    _expect(spool, bad, DLQ)

    _say("3. The second job failed, was retried twice after short delays, and is dead now:", "queuectl dlq list")
    listing.show(spool, (DLQ,), limit=10, as_json=False)

    _say("4. Create the file, and retry the job:", f"queuectl retry {bad}")
    with open(os.path.join(work_dir, _NEEDED), "w", encoding="utf-8") as file:
        file.write("Here I am.\n")
    spool.requeue(bad, by="demo")
    _drain(root)
    _expect(spool, bad, DONE)

    _say("5. Both jobs are done:", "queuectl list")
    listing.show(spool, (DONE,), wanted=listing.Wanted(tag="demo"), limit=10, as_json=False)

    typed = program.typed()
    here = f"{typed} --spool {program.quoted(root)}"
    _say(f"That took {time.monotonic() - before_s:.0f} s. The queue is this folder. Open it and look at the files:")
    printing.line(f"   {printing.safe(root)}")
    printing.line()
    printing.line("Next:")
    for command in (
        f"{here} show {bad}",
        f"{here} logs {bad}",
        f"{typed} init",
        f'{typed} enqueue --command "echo hi"',
    ):
        printing.exact_line(f"   {printing.safe(command)}")


def _put(spool: Spool, name: str, command: str, work_dir: str) -> str:
    """Enqueue a job under this name, or under a new one if the name is taken; return its id."""
    free = spool.folder.find(name) is None
    job_id = spool.enqueue(
        command, id=name if free else None, max_retries=2, backoff_base=_BASE, cwd=work_dir, tags=["demo"]
    )
    _typed(f'queuectl enqueue --id {name} --command "{command}"')
    return job_id


def _say(text: str, command: str = "") -> None:
    printing.line()
    printing.line(printing.paint(text, "bold"))
    if command:
        _typed(command)


def _typed(command: str) -> None:
    printing.exact_line(f"   {printing.paint('> ' + printing.safe(command), 'dim')}")
    sys.stdout.flush()  # the workers write to the same stream from another process


def _drain(root: str) -> None:
    """Run real workers until the queue is empty."""
    argv = [sys.executable, "-m", "queuectl", "--spool", root, "worker", "start", "--count", "2", "--drain"]
    try:
        code = subprocess.run(argv, timeout=_PATIENCE_S, check=False).returncode
    except subprocess.TimeoutExpired as error:
        raise QueuectlError(f"the workers did not stop within {_PATIENCE_S:.0f} s") from error
    if code:
        raise QueuectlError(f"the workers failed with exit code {code}", hint="see the lines above")


def _expect(spool: Spool, job_id: str, state: str) -> None:
    job = spool.get(job_id)
    if job.state != state:
        raise QueuectlError(
            f"the demo expected {job_id} in {state}/, but it is in {job.state}/",
            cause=job.error,
            hint=f"see {job.path}",
        )
