"""A keeper in memory behind a carrier, so that a test decides what arrives, what is lost, and how a command ends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import queuectl
from queuectl.cluster import carrier, protocol, wire
from queuectl.cluster.carrier import Arrival, Node
from queuectl.cluster.lease_model import NodeLease
from queuectl.cluster.protocol import Beat, Hello, Look, Piece, ReadAnswer, Refusal, RunEnd, RunSpec, StartAnswer
from queuectl.system import boot


class FakeKeeper:
    """One life of a keeper: it runs nothing, and a command ends when the test says so."""

    def __init__(self, member: str, *, slots: int = 4, before: FakeKeeper | None = None) -> None:
        self.member = member
        self.slots = slots
        self.dead = [] if before is None else [*before.dead, before.member]
        self.ended: dict[str, RunEnd] = {} if before is None else before.ended
        self.printed: dict[str, bytes] = {} if before is None else before.printed
        self.runs: dict[str, RunSpec] = {}
        self.started: list[str] = []
        self.fenced: set[str] = set()
        self.leases: dict[str, NodeLease] = {}
        self.refuses = ""
        self.ends_at_once = False
        self.scratch_free = 1 << 30
        self.containment = "namespace"
        self.rate = 1.0
        """How fast its clock runs."""
        self.version = protocol.VERSION
        self.resources: dict[str, float] = {}

    def end(self, run: str, code: int = 0, *, kind: str = protocol.EXIT, printed: bytes = b"") -> None:
        """Let a command end."""
        self.printed[run] = self.printed.get(run, b"") + printed
        self.runs.pop(run)
        self.ended[run] = RunEnd(run, kind, code, "", 1.5, len(self.printed[run]), member=self.member)

    def answer(self, op: str, body: str) -> tuple[Any, ...] | str:
        """Answer a message; a text refuses it."""
        request = wire.decode(protocol.REQUESTS[op], body)
        now_s = boot.uptime_s()
        if op == protocol.HELLO:
            free = self.slots - len(self.runs)
            words = {"queuectl": "1"}
            return Hello(
                self.member,
                "h",
                "b",
                self.slots,
                free,
                self.resources,
                self.dead,
                [*self.ended.values()],
                "group",
                False,
                words,
                now_s,
                self.version,
            )
        if op == protocol.READ:
            data = self.printed[request.run]
            return ReadAnswer(data[request.offset : request.offset + request.most], len(data))
        if op == protocol.LOOK:
            free, clock_s = self.slots - len(self.runs), now_s * self.rate
            words = {"queuectl": queuectl.__version__}
            where = "/s", self.scratch_free
            return Look(self.member, "h", 1, self.slots, free, {}, self.containment, False, words, *where, [], clock_s)
        if request.member != self.member:
            return f"member: it is {self.member}"
        if op == protocol.BEAT:
            return self._beat(request, now_s)
        if op == protocol.START:
            lease = self.leases[request.session]
            if request.grant != lease.grant:
                return "grant: it is another"
            refused = []
            for spec in request.specs:
                if self.refuses or spec.run in self.fenced or lease.left_s(now_s) <= 0:
                    refused.append(Refusal(spec.run, self.refuses or "fenced"))
                elif spec.run not in self.started:
                    self.started.append(spec.run)
                    self.runs[spec.run] = spec
                    if self.ends_at_once:
                        self.end(spec.run)
            return StartAnswer(refused, self.slots - len(self.runs))
        assert op == protocol.CANCEL
        for run in request.runs:
            if run in self.runs:
                self.end(run, 143, kind=protocol.ASKED)
        return protocol.CancelAnswer([])

    def _beat(self, request: protocol.BeatRequest, now_s: float) -> Beat:
        lease = self.leases.setdefault(request.session, NodeLease("g1"))
        if request.void:
            lease.give_up(request.void)
        if request.grant == lease.grant and request.token:
            lease.take(request.token, request.lease_s, now_s)
        if lease.has_ended(now_s):
            for run in list(self.runs):
                self.end(run, 137, kind=protocol.LAPSE)
            number = int(lease.grant[1:]) + 1
            lease = self.leases[request.session] = NodeLease(f"g{number}", first_token=lease.next_token)
        for run in request.acks:
            self.ended.pop(run, None)
        known = {*self.runs, *self.ended}
        fenced = [run for run in request.fences if run not in known]
        self.fenced.update(fenced)
        pieces = [
            Piece(run, offset, self.printed[run][offset:])
            for run, offset in request.output.items()
            if len(self.printed.get(run, b"")) > offset
        ]
        ended = [end for run, end in self.ended.items() if run not in request.known]
        token = lease.make_token(now_s)
        free = self.slots - len(self.runs)
        return Beat(token, lease.grant, lease.left_s(now_s), [*self.runs], ended, fenced, pieces, free)


class FakeCarrier:
    """See `carrier.Carrier`: each call is answered at once, unless the test cuts the way."""

    def __init__(self, **keepers: FakeKeeper) -> None:
        self.keepers = keepers
        self.lost = ""
        self.is_cut = False
        """Calls stay open."""
        self.loses: Callable[[str], str] = lambda _op: ""
        """What happens to a call: "" nothing, "way" lost before it arrives, "answer" lost afterwards."""
        self.calls: list[str] = []
        self._arrivals: list[Arrival] = []
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)

    def fileno(self) -> int:
        return self._bell.fileno()

    def nodes(self) -> Mapping[str, Node]:
        return {name: Node(name, name) for name in self.keepers}

    def call(self, node: str, op: str, body: str) -> int:
        self.calls.append(op)
        number = len(self.calls)
        if self.is_cut:
            return number
        fate = self.loses(op)
        arrival = Arrival(number, carrier.LOST, "lost")
        if node in self.keepers and fate != "way":
            answer = self.keepers[node].answer(op, body)
            if not fate:
                is_refused = isinstance(answer, str)
                kind = carrier.REFUSED if is_refused else carrier.ANSWERED
                arrival = Arrival(number, kind, answer if isinstance(answer, str) else wire.encode(answer))
        self._arrivals.append(arrival)
        self._rung.send(b"!")
        return number

    def arrivals(self) -> Sequence[Arrival]:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        found, self._arrivals = self._arrivals, []
        return found

    def busy(self, node: str, busy: bool) -> None:
        pass

    def close(self) -> None:
        self._bell.close()
        self._rung.close()
