"""What one session has on one node: the lease, the commands, and the messages under way (FORMAT.md, section 11).

A link asks for nothing that cannot be asked again. Whatever is lost, a command is in doubt only until the next answer
of its node (a fence), the proof of its keeper's death, or the end of its lease.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.cluster import carrier, protocol, wire
from queuectl.cluster.carrier import Arrival
from queuectl.cluster.command import RUNS, SENT, UNSURE, WAITS, Command, batches
from queuectl.cluster.health import LOOK_EVERY_S, TROUBLE, Health
from queuectl.cluster.hub import Hub
from queuectl.cluster.lease_model import PoolLease, margin_s

# A beat waits this long for news, and less while output comes.
_BEAT_S, _BEAT_OF_OUTPUT_S = 2.0, 0.5
# An answer that is this much late is not waited for: another message asks again. And so many outputs are asked for at
# once, because more would keep the scheduler from anything else.
_PATIENCE_S, _READS = 2.0, 4
# When the next message leaves after one, two ... that were lost.
_AGAIN_S = (0.05, 0.1, 0.25, 0.5, 1.0)
# When a node of another version is asked again: somebody has to update it.
_REFUSED_AGAIN_S = 5.0


class _Call(NamedTuple):
    op: str
    sent_s: float
    what: Any = None


class Link:
    """One session's view of one node."""

    def __init__(self, hub: Hub, session: str, node: str, lease: PoolLease | None = None) -> None:
        self.session = session
        self.node = node
        self.lease = lease or PoolLease()
        self.commands: dict[str, Command] = {}
        """The commands whose end is not acknowledged, by run."""
        self.hello: protocol.Hello | None = None
        """What the node said last of itself; None: it must be asked."""
        self._hub = hub
        self._grant = self._void = ""
        self.health = Health()
        self._calls: dict[int, _Call] = {}
        self._heard_beat = 0
        self._next_s = -math.inf
        self._losses = 0
        self._output_s = -math.inf
        self._known: dict[str, bool] = {}
        """Ended runs that are not acknowledged; True: they may be."""
        self._cancels: dict[str, tuple[Command, float]] = {}
        self._reading: dict[str, int] = {}

    # ------------------------------------------------------------------------------------------------------ places

    @property
    def member(self) -> str:
        """The life of the node's keeper, "" if it is not known."""
        return "" if self.hello is None else self.hello.member

    def places(self, now_s: float) -> int:
        """Return how many commands can start there now."""
        hello = self.hello
        if hello is None or not self._grant or not self.health.may_get(now_s):
            return 0
        if self.lease.bound_s - now_s < self._hub.lease_s / 2:
            return 0
        mine = sum(command.outcome is None for command in self.commands.values())
        coming = sum(command.stage in (WAITS, SENT) for command in self.commands.values() if command.end is None)
        return max(0, min(self.health.free - coming, hello.slots - mine))

    def add(self, command: Command, now_s: float) -> None:
        """Start a command with the next batch."""
        command.since_s = now_s
        self.commands[command.run] = command

    def add_adopted(self, command: Command, now_s: float) -> None:
        """Ask the node about a command that a dead worker of this session has started."""
        command.stage, command.since_s = UNSURE, now_s
        self.commands[command.run] = command

    def cancel(self, command: Command, grace_s: float) -> None:
        """Ask the node to end a command, until it has ended."""
        if command.stage == WAITS:
            command.release("it was stopped before its start")
        else:
            self._cancels[command.run] = command, grace_s

    def settled(self, command: Command) -> None:
        """The outcome of a command is on disk, so the node may forget it."""
        self.commands.pop(command.run, None)
        if command.end is not None:
            self._known[command.run] = True

    @property
    def has_word(self) -> bool:
        """True if there are ends that the node may forget."""
        return any(self._known.values())

    def say_last(self, now_s: float) -> None:
        """Acknowledge what is left."""
        if self.hello is not None and self.has_word:
            self._send_beat(now_s, wait_s=0.0)

    @property
    def is_idle(self) -> bool:
        """True if nothing is left to do there."""
        return not self.commands and not self.has_word

    # -------------------------------------------------------------------------------------------------------- send

    def step(self, now_s: float, *, is_there: bool) -> None:
        """Send what is due, and give up what cannot be reached any more."""
        if self.lease.is_given_up(now_s):
            self._give_up()
        if news := self.health.news():
            self._hub.remark(f"node {self.node} {news}", is_warning=bool(self.health.trouble))
        if not is_there or now_s < self._next_s:
            self._release_waiting(now_s)
            return
        if self.hello is None:
            if not self._is_open(protocol.HELLO, now_s, _PATIENCE_S):
                self._send(protocol.HELLO, protocol.HelloRequest(self._hub.identity, self.session), now_s)
            self._release_waiting(now_s)
            return
        if self._grant and self.lease.bound_s > now_s:
            self._send_starts(now_s)
            self._send_cancels(now_s)
        else:
            self._release_waiting(now_s)
        self._read_outputs(now_s)
        if not self._is_open(protocol.BEAT, now_s, _BEAT_S + _PATIENCE_S):
            self._send_beat(now_s)
        if now_s - self.health.looked_s >= LOOK_EVERY_S:
            self.health.looked_s = now_s
            self._send(protocol.LOOK, protocol.LookRequest(), now_s)

    def _is_open(self, op: str, now_s: float, patience_s: float) -> bool:
        """Return whether an answer is still waited for."""
        return any(call.op == op and now_s - call.sent_s < patience_s for call in self._calls.values())

    def _send(self, op: str, message: tuple[Any, ...], now_s: float, what: Any = None) -> int:
        call = self._hub.call(self.node, op, wire.encode(message), self.take)
        self._calls[call] = _Call(op, now_s, what)
        return call

    def _send_beat(self, now_s: float, *, wait_s: float | None = None) -> None:
        hello = self.hello
        assert hello is not None
        lease_s = self._hub.lease_s
        token = 0
        if self.lease.token and not self.lease.is_given_up(now_s):
            until_s = self.lease.bound_with(lease_s) + margin_s(lease_s)
            if self._hub.cover(self.session, until_s):
                token = self.lease.echo(lease_s, now_s)
        acks = [run for run, may_go in self._known.items() if may_go]
        for command in self.commands.values():
            if command.stage == SENT and now_s - command.since_s > _PATIENCE_S:
                command.stage = UNSURE
        fences = [run for run, command in self.commands.items() if command.stage == UNSURE and command.end is None]
        output = {}
        is_paced = now_s - self._output_s < _BEAT_OF_OUTPUT_S
        if not is_paced:
            live = (each for each in self.commands.values() if each.stage == RUNS and each.outcome is None)
            output = {each.run: each.output.got for each in live if each.end is None and each.output.wants_more}
        if wait_s is None:
            wait_s = 0.0 if not token or fences else _BEAT_OF_OUTPUT_S if is_paced else _BEAT_S
        known = [run for run, may_go in self._known.items() if not may_go]
        names = self.session, hello.member, self._hub.identity
        beat = protocol.BeatRequest(
            *names, lease_s, token, self._grant, self._void, acks, fences, output, known, wait_s
        )
        self._send(protocol.BEAT, beat, now_s, (acks, self._void))

    def _send_starts(self, now_s: float) -> None:
        waiting = [command for command in self.commands.values() if command.stage == WAITS and command.outcome is None]
        for batch in batches(waiting):
            for command in batch:
                command.stage, command.since_s = SENT, now_s
            specs = [command.spec for command in batch]
            request = protocol.StartRequest(self.session, self.member, self._grant, self.lease.token, specs)
            self._send(protocol.START, request, now_s, batch)

    def _send_cancels(self, now_s: float) -> None:
        self._cancels = {run: each for run, each in self._cancels.items() if each[0].outcome is None}
        if not self._cancels or self._is_open(protocol.CANCEL, now_s, _PATIENCE_S):
            return
        by_grace: dict[float, list[str]] = {}
        for run, (_, grace_s) in self._cancels.items():
            by_grace.setdefault(grace_s, []).append(run)
        for grace_s, runs in by_grace.items():
            self._send(protocol.CANCEL, protocol.CancelRequest(self.session, self.member, runs, grace_s), now_s)

    def _read_outputs(self, now_s: float) -> None:
        """Fetch what the commands that have ended printed last; then their outcomes count."""
        calls, since_s = self._calls.items(), now_s - _PATIENCE_S
        asked = {number for number, call in calls if call.op == protocol.READ and call.sent_s > since_s}
        for command in self.commands.values():
            if command.end is None or command.outcome is not None or self._reading.get(command.run) in asked:
                continue
            try:
                wanted = command.output.next_read(command.end.output_bytes)
            except OSError:
                self._next_s = now_s + _AGAIN_S[-1]  # a full disk: later (P9)
                continue
            if wanted is None:
                command.conclude()
            elif len(asked) < _READS:
                request = protocol.ReadRequest(command.run, *wanted)
                asked.add(number := self._send(protocol.READ, request, now_s, command))
                self._reading[command.run] = number

    # ----------------------------------------------------------------------------------------------------- receive

    def take(self, arrival: Arrival, now_s: float) -> None:
        """Act on what a call came to."""
        call = self._calls.pop(arrival.call, None)
        if call is None:
            return
        if arrival.kind != carrier.ANSWERED:
            self._take_failure(call, arrival, now_s)
            return
        try:
            answer = wire.decode(protocol.ANSWERS[call.op], arrival.text)
        except wire.ProtocolError as error:
            self.health.refuse_all(f"it answers what cannot be read: {error}")
            self._take_failure(call, arrival._replace(kind=carrier.LOST), now_s)
            return
        self._losses, self._next_s = 0, -math.inf
        takers: dict[str, Callable[[Any, int, _Call, float], None]] = {
            protocol.HELLO: self._take_hello,
            protocol.BEAT: self._take_beat,
            protocol.START: self._take_start,
            protocol.READ: self._take_read,
            protocol.LOOK: lambda look, _number, call, now_s: self.health.hear_look(look, call.sent_s, now_s),
        }
        if call.op in takers:
            takers[call.op](answer, arrival.call, call, now_s)

    def _take_failure(self, call: _Call, arrival: Arrival, now_s: float) -> None:
        if call.op == protocol.START:
            for command in call.what:
                if arrival.kind == carrier.REFUSED:
                    command.release(arrival.text)
                elif command.stage == SENT:
                    command.stage = UNSURE
        if call.op == protocol.READ and arrival.kind == carrier.REFUSED:
            call.what.conclude()  # the node has lost the output, but not how the command ended
        if arrival.kind == carrier.REFUSED and call.op not in (protocol.READ, protocol.LOOK):
            self.hello = None  # another keeper is there, or another grant
        if arrival.kind == carrier.REFUSED and call.op == protocol.HELLO:
            self.health.refuse_all(f"it refuses this pool: {arrival.text}")
        if arrival.kind == carrier.LOST or call.op == protocol.HELLO:
            self._next_s = now_s + _AGAIN_S[min(self._losses, len(_AGAIN_S) - 1)]
            self._losses += 1
            if self._losses > 1:
                self.hello = None

    def _take_hello(self, hello: protocol.Hello, _number: int, _call: _Call, now_s: float) -> None:
        if hello.version != protocol.VERSION:
            words = f"version {hello.version} of the cluster's protocol, and this queuectl {protocol.VERSION}"
            self.health.refuse_all(f"it speaks {words}: install the same queuectl on both")
            self._next_s = now_s + _REFUSED_AGAIN_S
            return
        for end in hello.untold:
            self._take_end(end)
        dead = set(hello.dead)
        gone = [each for each in self.commands.values() if each.member != hello.member and each.end is None]
        parted: list[Command] = []
        for command in gone:
            if command.stage == WAITS:
                command.release("the keeper of its node was replaced")
            elif command.member in dead:
                command.lose("the keeper of its node died")
            else:
                parted.append(command)
        if parted:
            for command in parted:
                del self.commands[command.run]
            self._hub.part(self.session, self.node, parted, self.lease)
        if parted or gone:
            self.lease, self._grant = PoolLease(), ""
        self.hello = hello
        self.health.hear_hello(hello, now_s)

    def _take_start(self, answer: protocol.StartAnswer, _number: int, call: _Call, now_s: float) -> None:
        why = {refusal.run: refusal.why for refusal in answer.refused}
        for command in call.what:
            if command.run in why:
                command.release(why[command.run])
            elif command.stage in (SENT, UNSURE):
                command.stage, command.since_s = RUNS, now_s
        self.health.free = answer.free
        troubles = [text.removeprefix(TROUBLE) for text in why.values() if text.startswith(TROUBLE)]
        if troubles:
            self.health.rest(troubles[0], now_s)
        elif len(why) < len(call.what):
            self.health.end_rest()

    def _take_read(self, answer: protocol.ReadAnswer, _number: int, call: _Call, now_s: float) -> None:
        command: Command = call.what
        if command.outcome is not None or command.end is None:
            return
        try:
            wanted = command.output.next_read(command.end.output_bytes)
            if wanted is not None:
                if not answer.data:
                    command.conclude()  # it is shorter than the node said
                    return
                command.output.add(wanted[0], answer.data, wanted[0] + wanted[1])
        except OSError:
            self._next_s = now_s + _AGAIN_S[-1]

    def _take_beat(self, beat: protocol.Beat, number: int, call: _Call, now_s: float) -> None:
        if number < self._heard_beat:
            return  # a later one was answered before
        self._heard_beat = number
        acks, void = call.what
        for run in acks:
            self._known.pop(run, None)
        if void and void == self._void and beat.grant != void:
            self._void = ""
        if beat.grant != self._grant:
            if self._grant or not beat.grant:
                # Whatever ran under the old grant has ended, or is being ended. The bound stays for what is not told.
                self.lease = PoolLease(self.lease.bound_s, self._hub.lease_s)
            self._grant = beat.grant
        if beat.grant:
            self.lease.receive(beat.token, now_s)
        self.health.hear(beat.free, beat.is_draining, now_s)
        for end in beat.ended:
            self._take_end(end)
        self._take_pieces(beat.output, now_s)
        self._compare(set(beat.live), set(beat.fenced), call.sent_s, now_s)

    def _take_pieces(self, pieces: list[protocol.Piece], now_s: float) -> None:
        for piece in pieces:
            command = self.commands.get(piece.run)
            if command is not None and command.outcome is None and piece.data:
                self._output_s = now_s if command.end is None else self._output_s
                try:
                    command.output.add_live(piece)
                except OSError:
                    return  # a full disk: it is asked for again

    def _compare(self, live: set[str], fenced: set[str], sent_s: float, now_s: float) -> None:
        """Compare what the node runs with what was asked of it before the beat left."""
        for command in self.commands.values():
            if command.outcome is not None or command.end is not None or command.stage == WAITS:
                continue
            if command.run in live:
                if command.stage != RUNS:
                    command.stage, command.since_s = RUNS, now_s
            elif command.run in fenced:
                if command.was_confirmed:
                    command.lose("its node has lost it")
                else:
                    command.release("its node never got it")
            elif command.stage == RUNS and command.since_s < sent_s:
                command.was_confirmed, command.stage = True, UNSURE

    def _take_end(self, end: protocol.RunEnd) -> None:
        command = self.commands.get(end.run)
        if command is None:
            if end.run not in self._known:
                self._known[end.run] = self._hub.meet_stranger(self.node, end)
            return
        self._known.setdefault(end.run, False)
        if command.end is None and command.outcome is None:
            command.end = end

    # ----------------------------------------------------------------------------------------------------- give up

    def _give_up(self) -> None:
        """The lease has ended for certain, so nothing that started under it runs any more."""
        for command in self.commands.values():
            if command.end is not None:
                command.conclude()
            elif command.stage == WAITS:
                command.release(f"node {self.node} does not answer")
            else:
                command.lose(f"node {self.node} was out of reach for longer than the lease")
        if self.hello is not None:
            self._hub.remark(f"node {self.node} is out of reach: its commands count as abandoned", is_warning=True)
        self._void, self._grant, self.hello = self._grant or self._void, "", None
        self.lease = PoolLease()
        self._calls.clear()

    def _release_waiting(self, now_s: float) -> None:
        """Give back the commands that were not sent because the node has become silent."""
        for command in self.commands.values():
            if command.stage == WAITS and now_s - command.since_s > _PATIENCE_S:
                command.release(f"node {self.node} does not answer")
