"""The keeper of a node: it starts, owns and ends commands, each under the lease of a session (promises P3, P4, P5).

One loop, which waits for nobody: requests on a socket, ends of commands, the clock. Leases are counted by
CLOCK_BOOTTIME, which goes on while the machine sleeps. While a command lives the keeper looks at that clock every
0.1 s.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import time
from typing import Any, NamedTuple

import queuectl
from queuectl.cluster import protocol, wire
from queuectl.cluster.lease_model import TERM_BEFORE_S
from queuectl.cluster.outcomes import Outcomes
from queuectl.cluster.protocol import (
    Beat,
    BeatRequest,
    CancelAnswer,
    CancelRequest,
    DrainAnswer,
    DrainRequest,
    Hello,
    HelloRequest,
    Look,
    LookRequest,
    Piece,
    ReadAnswer,
    ReadRequest,
    Refusal,
    StartAnswer,
    StartRequest,
)
from queuectl.cluster.runs import Command, Commands, StartRefusedError
from queuectl.cluster.scratch import SOCKET, Scratch
from queuectl.cluster.sessions import Session, Sessions
from queuectl.cluster.wire import ProtocolError
from queuectl.system import boot, disk, local_socket
from queuectl.worker.executors.base import Executor

_TICK_S = 0.1
# With less in the scratch folder a command could not even print a line, and its job would count that as its failure.
_LEAST_FREE = 64 * 1024
_BURY_AGAIN_S = 10.0
_LAPSED = "its node had no word from the pool, and its lease ran out"
_GIVEN_UP = "the pool had given its node up"


class Facts(NamedTuple):
    """What a keeper knows of itself."""

    member: str
    node: str
    host: str
    slots: int
    resources: dict[str, float]
    contained: str
    term_before_s: float = TERM_BEFORE_S


class _Parked(NamedTuple):
    """A beat that is answered with the first news, or when it is due."""

    request: local_socket.Request
    beat: BeatRequest
    due_s: float


def clock_s() -> float:
    """Return the time by the clock of the leases."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Keeper:
    """The loop of a keeper. It first ends what its predecessors left, for which it waits for at most `bury_within_s`.

    Raises:
        OSError: the scratch folder cannot be read or written.
    """

    def __init__(self, scratch: Scratch, facts: Facts, executor: Executor, *, bury_within_s: float) -> None:
        self._scratch = scratch
        self._facts = facts
        self._executor = executor
        self._outcomes = Outcomes(scratch, bury_within_s=bury_within_s)
        self._buried_s = clock_s()
        self._commands = Commands(
            executor, self._outcomes.places, node=facts.node, member=facts.member, contained=facts.contained
        )
        self._sessions = Sessions()
        self._parked: dict[str, _Parked] = {}
        """By the name of the session."""
        self._is_draining = scratch.is_draining
        self._is_stopping = False
        for each in self._outcomes.told:
            self._sessions.get(each.session, clock_s()).ended[each.end.run] = each.end
        self._server = local_socket.Server(scratch.root, SOCKET)
        for fd in executor.sources:
            self._server.watch(fd)

    def run(self) -> None:
        """Serve until `stop`, and until no command lives."""
        while not self._is_stopping or self._commands.live:
            requests, ready = self._server.wait(self._timeout_s())
            if ready:
                self._executor.wake()
            self._note_ends()
            self._keep_leases()
            for each in requests:
                self._handle(each)
            self._note_ends()
            self._answer_parked()
        self._server.close()
        self._outcomes.close()

    def stop(self) -> None:
        """End all commands, then the loop. Their outcomes stay on disk for the next keeper."""
        self._is_stopping = True
        for command in list(self._commands.live.values()):
            self._commands.end(command, protocol.LAPSE, "its keeper was asked to stop", command.spec.grace_s)

    def _timeout_s(self) -> float | None:
        now_s = time.monotonic()
        due = [each.due_s for each in self._parked.values()]
        if self._commands.live:
            due += [now_s + _TICK_S, self._commands.due_s()]
        return max(0.0, min(due) - now_s) if due else None

    # --------------------------------------------------------------------------------------------------- leases

    def _note_ends(self) -> None:
        """Put outcomes on disk, then make them known (promise P4)."""
        if over := self._commands.step():
            self._outcomes.add(over)
        for command, end in over:
            session = self._sessions.get(command.session, clock_s())
            session.ended[end.run] = end
            session.runs.discard(end.run)

    def _keep_leases(self) -> None:
        """End the commands of a lease that runs out or is void; begin another lease when nothing of it lives."""
        now_s = clock_s()
        for session in self._sessions.all():
            lease = session.lease
            has_ended = lease.has_ended(now_s)
            if session.runs and (has_ended or lease.left_s(now_s) <= self._facts.term_before_s):
                reason = _GIVEN_UP if lease.is_void else _LAPSED
                for run in session.runs:
                    self._commands.end(self._commands.live[run], protocol.LAPSE, reason, lease.left_s(now_s))
            if has_ended and not session.runs:
                session.renew()

    # ------------------------------------------------------------------------------------------------- requests

    def _handle(self, request: local_socket.Request) -> None:
        kind = protocol.REQUESTS.get(request.word)
        try:
            if kind is None:
                raise ProtocolError(f"operation: this keeper knows no {request.word[:40]!r}")
            message = wire.decode(kind, request.text)
            if isinstance(message, BeatRequest):
                self._beat(request, message)
            else:
                request.answer(wire.encode(self._answer(message)))
        except ProtocolError as error:
            request.refuse(str(error))
        except OSError as error:
            request.refuse(f"node: {error}")

    def _answer(self, message: Any) -> tuple[Any, ...]:
        match message:
            case HelloRequest():
                return self._hello(message)
            case StartRequest():
                return self._start(message)
            case CancelRequest():
                return self._cancel(message)
            case ReadRequest():
                return self._read(message)
            case DrainRequest():
                self._scratch.drain(message.on)
                self._is_draining = message.on
                return DrainAnswer(message.on)
            case _:
                assert isinstance(message, LookRequest)
                return self._look()

    def _check_member(self, member: str) -> None:
        if member != self._facts.member:
            raise ProtocolError(f"member: {member[:100]} is gone, {self._facts.member} is here")

    @property
    def _free(self) -> int:
        return 0 if self._is_stopping else max(0, self._facts.slots - len(self._commands.live))

    def _hello(self, message: HelloRequest) -> Hello:
        if message.version != protocol.VERSION:
            raise ProtocolError(
                f"version: the pool speaks version {message.version} of the cluster's protocol and this node "
                f"{protocol.VERSION} (queuectl {queuectl.__version__}): install the same queuectl on both"
            )
        facts, now_s = self._facts, clock_s()
        if not self._outcomes.is_buried and now_s - self._buried_s > _BURY_AGAIN_S and not self._commands.live:
            self._outcomes.bury(0.0)
            self._buried_s = now_s
        dead = []
        if self._outcomes.is_buried:
            dead = [member for member, host in self._scratch.members() if host == facts.host and member != facts.member]
        session = self._sessions.get(message.session, now_s)
        return Hello(
            facts.member,
            facts.host,
            boot.boot_id(),
            facts.slots,
            self._free,
            facts.resources,
            dead,
            list(session.ended.values()),
            facts.contained,
            self._is_draining,
            _versions(),
            now_s,
        )

    def _look(self) -> Look:
        facts = self._facts
        return Look(
            facts.member,
            facts.host,
            os.getpid(),
            facts.slots,
            self._free,
            facts.resources,
            facts.contained,
            self._is_draining,
            _versions(),
            self._scratch.root,
            self._scratch.free_bytes(),
            list(self._commands.live),
            clock_s(),
            facts.node,
        )

    def _beat(self, request: local_socket.Request, beat: BeatRequest) -> None:
        self._check_member(beat.member)
        low_s, high_s = protocol.LEASE_RANGE_S
        if not low_s <= beat.lease_s <= high_s:
            raise ProtocolError(f"lease_s: between {low_s:g} and {high_s:g} s are allowed")
        now_s = clock_s()
        session = self._sessions.get(beat.session, now_s)
        session.prolong(beat, now_s)
        self._outcomes.forget([run for run in beat.acks if session.ended.pop(run, None) is not None])
        fenced = [run for run in beat.fences if session.fence(run, now_s)]
        self._keep_leases()  # a void grant ends at once
        self._note_ends()
        older = self._parked.pop(beat.session, None)
        if older is not None:
            self._answer_beat(older, [])
        wait_s = min(beat.wait_s, protocol.LONGEST_WAIT_S)
        parked = _Parked(request, beat, time.monotonic() + wait_s)
        if beat.fences or not beat.token or wait_s <= 0 or self._has_news(session, parked):
            self._answer_beat(parked, fenced)
        else:
            self._parked[beat.session] = parked

    def _has_news(self, session: Session, parked: _Parked) -> bool:
        beat = parked.beat
        if session.lease.grant != beat.grant or session.news(beat) or self._is_stopping:
            return True
        return any(
            command.place.read(offset, 0)[1] - offset >= protocol.BEAT_OUTPUT_BYTES
            for run, offset in beat.output.items()
            if (command := self._commands.live.get(run)) is not None
        )

    def _answer_parked(self) -> None:
        now_s = time.monotonic()
        for name, parked in list(self._parked.items()):
            session = self._sessions.get(name, clock_s())
            if now_s >= parked.due_s or parked.request.is_gone or self._has_news(session, parked):
                del self._parked[name]
                self._answer_beat(parked, [])

    def _answer_beat(self, parked: _Parked, fenced: list[str]) -> None:
        now_s, beat = clock_s(), parked.beat
        session = self._sessions.get(beat.session, now_s)
        lease = session.lease
        has_ended = lease.has_ended(now_s)
        answer = Beat(
            lease.make_token(now_s),
            "" if has_ended else lease.grant,
            lease.left_s(now_s),
            list(session.runs),
            ended := session.news(beat),
            fenced,
            self._pieces(beat, self._outcomes.last_pieces(beat, ended)),
            self._free,
            self._is_draining,
        )
        parked.request.answer(wire.encode(answer))

    def _pieces(self, beat: BeatRequest, found: list[Piece]) -> list[Piece]:
        """Return output that the pool wants, of all runs together as much as a beat may hold, after `found`."""
        room = protocol.BEAT_OUTPUT_BYTES - sum(len(piece.data) for piece in found)
        for run, offset in beat.output.items():
            command = self._commands.live.get(run)
            if room <= 0 or command is None or command.session != beat.session or offset < 0:
                continue
            data, _ = command.place.read(offset, room)
            if data:
                found.append(Piece(run, offset, data))
                room -= len(data)
        return found

    def _start(self, message: StartRequest) -> StartAnswer:
        self._check_member(message.member)
        now_s = clock_s()
        session = self._sessions.get(message.session, now_s)
        lease = session.lease
        if message.grant != lease.grant or lease.has_ended(now_s):
            raise ProtocolError("grant: it is over")
        if lease.left_s(now_s) <= self._facts.term_before_s:
            raise ProtocolError(f"lease: {lease.left_s(now_s):.1f} s are left, which is too little to start anything")
        if not lease.is_fresh(message.token, session.lease_s, now_s):
            raise ProtocolError("token: this request was on its way for longer than the lease")
        refused = []
        free_bytes = self._scratch.free_bytes()
        lacks = f"trouble: {free_bytes} bytes are free in {self._scratch.root}" * (free_bytes < _LEAST_FREE)
        for spec in message.specs:
            protocol.run_parts(spec.run)
            if why := lacks or self._refusal(session, spec, now_s):
                refused.append(Refusal(spec.run, why))
        return StartAnswer(refused, self._free)

    def _refusal(self, session: Session, spec: protocol.RunSpec, now_s: float) -> str:
        """Start a run; return why it is not started, "" if it is (or cannot be, for a reason of its own)."""
        if session.knows(spec.run) or spec.run in self._commands.live or spec.run in self._outcomes:
            return "seen: this run was started or fenced before"
        session.remember(spec.run, now_s)
        if self._is_draining or self._is_stopping:
            return "draining: the node starts nothing new"
        if self._free < 1:
            return f"full: all {self._facts.slots} places are taken"
        if not spec.command or "" in (spec.command, spec.command[0]):
            return "command: there is none"
        try:
            end = self._commands.start(session.name, spec)
        except StartRefusedError as error:
            return f"trouble: {error}"
        if end is None:
            session.runs.add(spec.run)
        else:
            self._outcomes.add_unstarted(session.name, end)
            session.ended[spec.run] = end
        return ""

    def _cancel(self, message: CancelRequest) -> CancelAnswer:
        self._check_member(message.member)
        unknown = []
        for run in message.runs:
            command: Command | None = self._commands.live.get(run)
            if command is None or command.session != message.session:
                unknown.append(run)
            else:
                self._commands.end(command, protocol.ASKED, "", max(0.0, message.grace_s))
        return CancelAnswer(unknown)

    def _read(self, message: ReadRequest) -> ReadAnswer:
        protocol.run_parts(message.run)
        most = max(0, min(message.most, protocol.READ_BYTES))
        offset = max(0, message.offset)
        command = self._commands.live.get(message.run)
        if command is not None:
            return ReadAnswer(*command.place.read(offset, most))
        return self._outcomes.read(message.run, offset, most)


@functools.cache
def _versions() -> dict[str, str]:
    made = {"queuectl": queuectl.__version__, "python": platform.python_version(), "system": platform.system()}
    with contextlib.suppress(ImportError):
        made["dask"] = importlib.metadata.version("distributed")
    return made


def remove_socket(scratch: Scratch) -> None:
    """Delete the socket, so that whoever connects knows at once that no keeper is here."""
    disk.unlink(os.path.join(scratch.root, SOCKET))
