"""A real keeper in a process of its own, and a pool's end of its socket."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from queuectl.cluster import client, protocol, wire
from queuectl.cluster.protocol import (
    Beat,
    BeatRequest,
    CancelAnswer,
    CancelRequest,
    Hello,
    HelloRequest,
    Look,
    LookRequest,
    ReadAnswer,
    ReadRequest,
    RunEnd,
    RunSpec,
    StartAnswer,
    StartRequest,
)
from tests.helpers import wait_until


class RealKeeper:
    """A keeper of a scratch folder. It is killed at the end of its block."""

    def __init__(self, scratch: Path, *words: str) -> None:
        self.scratch = scratch
        argv = [sys.executable, "-m", "queuectl.cluster.keeper", str(scratch), "--slots", "4", "--node", "n1", *words]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        try:
            self.ask(protocol.LOOK, LookRequest())
        except OSError:
            return False
        return True

    def ask(self, op: str, message: tuple[Any, ...]) -> Any:
        """Send a request; return the answer."""
        text = client.call(str(self.scratch), op, wire.encode(message), 60.0)
        return wire.decode(protocol.ANSWERS[op], text)

    def look(self) -> Look:
        """Return what the keeper says of itself."""
        look: Look = self.ask(protocol.LOOK, LookRequest())
        return look

    def kill(self) -> None:
        """Kill -9 the keeper itself."""
        with contextlib.suppress(OSError):
            client.processes.send(client.processes.find(client.keeper_pid(str(self.scratch))), signal.SIGKILL)  # type: ignore[arg-type]
        self.process.wait()

    def __enter__(self) -> RealKeeper:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stderr.close()
        assert "Traceback" not in errors, errors


class Pool:
    """One session of a pool at a keeper."""

    def __init__(self, keeper: RealKeeper, session: str = "s-1", *, lease_s: float = 600.0) -> None:
        self.spool = secrets.token_hex(3)
        self.keeper = keeper
        self.session = session
        self.lease_s = lease_s
        self.hello: Hello = keeper.ask(protocol.HELLO, HelloRequest(self.spool, session))
        self.member = self.hello.member
        self.token, self.grant = 0, ""
        self.beat()
        self.beat()

    def request(self, **words: Any) -> BeatRequest:
        """Return a beat that brings the newest token back."""
        made = BeatRequest(self.session, self.member, self.spool, self.lease_s, self.token, self.grant)
        return made._replace(**words)

    def beat(self, **words: Any) -> Beat:
        """Send a beat; take token and grant from its answer."""
        beat: Beat = self.keeper.ask(protocol.BEAT, self.request(**words))
        self.token, self.grant = beat.token, beat.grant
        return beat

    def start(self, *specs: RunSpec) -> StartAnswer:
        """Send a batch."""
        message = StartRequest(self.session, self.member, self.grant, self.token, list(specs))
        answer: StartAnswer = self.keeper.ask(protocol.START, message)
        return answer

    def name(self, job_id: str) -> str:
        """Return the name of a job's first run."""
        return protocol.run_name(self.spool, job_id, 1)

    def run(self, job_id: str, command: str | list[str], **words: Any) -> str:
        """Start one run; return its name."""
        run = self.name(job_id)
        answer = self.start(RunSpec(run, command, **words))
        assert answer.refused == []
        return run

    def cancel(self, *runs: str, grace_s: float = 5.0) -> CancelAnswer:
        """Ask for the end of runs."""
        message = CancelRequest(self.session, self.member, list(runs), grace_s)
        answer: CancelAnswer = self.keeper.ask(protocol.CANCEL, message)
        return answer

    def end_of(self, run: str) -> RunEnd:
        """Wait for the end of a run."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for end in self.beat(wait_s=2.0).ended:
                if end.run == run:
                    return end
        raise AssertionError(f"{run} does not end")

    def output(self, run: str) -> bytes:
        """Return what a run has printed."""
        answer: ReadAnswer = self.keeper.ask(protocol.READ, ReadRequest(run, 0))
        return answer.data
