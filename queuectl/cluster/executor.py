"""Runs the commands of a worker on the nodes of a cluster: the side of the pool (FORMAT.md, section 11).

The keeper of a node owns the commands there, under a lease that this executor prolongs; a carrier brings the messages;
the spool decides. Nothing here waits. `ClusterWorker` calls `step` before each of its waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from queuectl.cluster import protocol
from queuectl.cluster.board import Board
from queuectl.cluster.carrier import Arrival, Carrier
from queuectl.cluster.command import WAITS, Command, Output, fits
from queuectl.cluster.lease_model import TERM_BEFORE_S, PoolLease, margin_s
from queuectl.cluster.link import Link
from queuectl.errors import DamagedRecordError
from queuectl.inbox import identity
from queuectl.jobs.verdict import Claimed
from queuectl.model.lifecycle import OUTCOMES, RUNNING
from queuectl.model.record import Record
from queuectl.spool import stamps
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import boot
from queuectl.system.selector import Selector
from queuectl.worker.executors.base import EXIT_NOT_RUNNABLE, CannotStartError, Ended

# A stamp lasts this much longer than needed, so that one is enough for two seconds.
_SLACK_S = 2.0
# The longest time between two steps while there are nodes.
_STEP_S = 0.5
# At its end a worker waits this long for the nodes to note what they may forget.
_LAST_WORD_S = 1.0
_FORGOTTEN_AFTER_S = 600.0
_NOTHING: Mapping[str, float] = {}


class ClusterExecutor:
    """See `worker.executors.base.Executor`; its `start` is `start_on`, because a node is chosen before the claim."""

    def __init__(self, session: Session, carrier: Carrier, *, worker: str, sends_env: bool = True) -> None:
        self._sends_env = sends_env
        self._carrier = carrier
        self.identity = identity.identity_of(session.spool)
        self.lease_s = session.settings.cluster_lease
        self.session = worker
        self._spool, self._settings = session.spool, session.settings
        self.remark_to: Callable[[str, bool], None] = lambda _text, _is_warning: None
        self._links: dict[tuple[str, str], Link] = {}
        """By session and node."""
        self._parted: list[Link] = []
        """Commands of keepers that are out of reach, until their leases have ended."""
        self._calls: dict[int, Callable[[Arrival, float], None]] = {}
        self._stamped_s: dict[str, float] = {}
        self._length_s = self.lease_s + margin_s(self.lease_s) + _SLACK_S
        self._lengths_s: dict[str, float] = {}
        self._settling: list[tuple[Link, Command, float]] = []
        self._lost = ""
        self._sources = [carrier.fileno()]
        stamps.note_length(session.spool, self._length_s)
        self.board = Board(session.spool, worker, session.settings.cluster_scheduler, margin_s=margin_s(self.lease_s))

    # -------------------------------------------------------------------------------------- as the worker's executor

    @property
    def sources(self) -> list[int]:
        """See `base.Executor`."""
        return self._sources

    def wake(self) -> None:
        """See `base.Executor`."""
        now_s = boot.uptime_s()
        for arrival in self._carrier.arrivals():
            take = self._calls.pop(arrival.call, None)
            if take is not None:
                take(arrival, now_s)

    def use_shell(self, shell: str) -> None:
        """Do nothing: the shell is the node's."""

    def ended(self) -> Sequence[tuple[Command, Ended]]:
        """See `base.Executor`."""
        found = []
        for link in (*self._links.values(), *self._parted):
            for command in link.commands.values():
                if command.outcome is not None and not command.is_told:
                    command.is_told = True
                    if not command.is_ending:
                        found.append((command, command.ended()))
        return found

    # ---------------------------------------------------------------------------------------------------- places

    def places(self) -> int:
        """Return how many commands can start now."""
        now_s = boot.uptime_s()
        return sum(link.places(now_s) for link in self._links.values() if link.session == self.session)

    def choose(self, resources: Mapping[str, float] = _NOTHING) -> Link | None:
        """Return the node with the most free places of those that have these resources free, or None."""
        now_s = boot.uptime_s()
        mine = (link for link in self._links.values() if link.session == self.session)
        if resources:
            mine = (link for link in mine if fits(resources, link.health.offered, link.commands.values()))
        best = max(mine, key=lambda link: link.places(now_s), default=None)
        return best if best is not None and best.places(now_s) else None

    def start_on(self, link: Link, claimed: Claimed, output_fd: int) -> Command:
        """Start the command of a claimed job on a node, with the next batch.

        Raises:
            CannotStartError: the job has variables or an input, which may not cross this network.
            OSError: the parents of the job cannot be looked at.
        """
        item, settings = claimed.record, self._settings
        secret = "env" if item.env else "stdin" if item.extras.stdin else ""
        if secret and not self._sends_env:
            why = f"its {secret} would cross the network without TLS (cluster.insecure)"
            raise CannotStartError(EXIT_NOT_RUNNABLE, why, is_final=True)
        run = protocol.run_name(self.identity, item.id, claimed.attempt)
        timeout_s = settings.timeout if item.timeout is None else item.timeout
        spec = protocol.RunSpec(
            run,
            item.command,
            item.cwd,
            item.env,
            item.minimal_env,
            timeout_s,
            settings.kill_grace_s,
            settings.output_max if item.output_max is None else item.output_max,
            item.extras.stdin,
            item.extras.stdin_file or "",
            self._parents_of(item) if item.extras.after else "",
        )
        command = self._command(spec, link, claimed, output_fd, link.member)
        link.add(command, boot.uptime_s())
        return command

    def _parents_of(self, item: Record) -> str:
        from queuectl.worker import parent_results  # few jobs have parents

        return parent_results.document(self._spool, item, is_here=False).decode("ascii")

    def adopt(self, claimed: Claimed, output_fd: int, *, session: str, node: str, member: str) -> Command:
        """Take over the command of a job that a dead worker has started: ask its node about it (P4, P5)."""
        link = self._links.get((session, node))
        if link is None:
            stamp = stamps.read(self._spool, session)
            length_s = self._length_s if stamp is None else stamp.length_s
            until_s = boot.uptime_s() + (0.0 if stamp is None else stamp.left_s())
            lease = PoolLease(until_s - margin_s(length_s), length_s)
            link = self._links[session, node] = Link(self, session, node, lease)
            self._stamped_s[session], self._lengths_s[session] = until_s, length_s
        spec = protocol.RunSpec(
            protocol.run_name(self.identity, claimed.job_id, claimed.attempt), claimed.record.command
        )
        timeout_s = self._settings.timeout if claimed.record.timeout is None else claimed.record.timeout
        output_max = self._settings.output_max if claimed.record.output_max is None else claimed.record.output_max
        command = self._command(
            spec._replace(timeout_s=timeout_s, output_max=output_max), link, claimed, output_fd, member
        )
        link.add_adopted(command, boot.uptime_s())
        return command

    def _command(self, spec: protocol.RunSpec, link: Link, claimed: Claimed, output_fd: int, member: str) -> Command:
        output = Output(output_fd, self._settings.cluster_output_max)
        return Command(spec, claimed, output, member=member, ask_end=link.cancel)

    # ------------------------------------------------------------------------------------------------------ steps

    def step(self) -> float:
        """Send what is due; return in how many seconds the next step is due at the latest."""
        now_s = boot.uptime_s()
        self._tell_way()
        self._acknowledge(now_s)
        nodes = self._carrier.nodes()
        for node in nodes:
            if (self.session, node) not in self._links:
                self._links[self.session, node] = Link(self, self.session, node)
        for link in list(self._links.values()):
            had = len(link.commands)
            link.step(now_s, is_there=link.node in nodes)
            self._carrier.busy(link.node, any(each.commands for each in self._links.values() if each.node == link.node))
            if not had and link.is_idle and (link.session != self.session or link.node not in nodes):
                del self._links[link.session, link.node]
        for link in list(self._parted):
            link.step(now_s, is_there=False)
            if not link.commands:
                self._parted.remove(link)
        due_s = self.board.step(now_s, nodes, (*self._links.values(), *self._parted), self._lost)
        return _STEP_S if self._links or self._parted else due_s

    def _tell_way(self) -> None:
        lost = self._carrier.lost
        if lost != self._lost:
            self._lost = lost
            self.remark(lost or "the cluster can be reached again", is_warning=bool(lost))

    def settled(self, command: Command) -> None:
        """Note that a worker is through with a command: acknowledge its end once the outcome is on disk (P4)."""
        for link in (*self._links.values(), *self._parted):
            if link.commands.get(command.run) is command:
                self._settling.append((link, command, boot.uptime_s()))

    def _acknowledge(self, now_s: float) -> None:
        left = []
        for link, command, since_s in self._settling:
            # A job whose file is gone has no outcome on disk, ever.
            if command.claimed.moved is not None or now_s - since_s > _FORGOTTEN_AFTER_S:
                link.settled(command)
            else:
                left.append((link, command, since_s))
        self._settling = left

    def close(self) -> None:
        """Send the last acknowledgements, and delete the stamp if nothing of this session is left."""
        now_s = boot.uptime_s()
        self._acknowledge(now_s)
        for link in self._links.values():
            link.say_last(now_s)
        selector = Selector()
        while any(link.has_word for link in self._links.values()) and boot.uptime_s() < now_s + _LAST_WORD_S:
            selector.wait(self._sources, _LAST_WORD_S / 10)
            self.wake()
        self._carrier.close()

    def release_unsent(self) -> None:
        """Give back the commands that no node was asked to start."""
        for link in self._links.values():
            for command in link.commands.values():
                if command.stage == WAITS:
                    command.release("the workers were stopped")

    def left_s(self) -> float:
        """Return for how long commands that are left alone may go on, at least."""
        bounds = [link.lease.bound_s for link in (*self._links.values(), *self._parted) if link.commands]
        return max(0.0, min(bounds, default=0.0) - TERM_BEFORE_S - boot.uptime_s())

    def has_any_of(self, session: str) -> bool:
        """Return whether commands of a session are left."""
        return any(link.commands for link in (*self._links.values(), *self._parted) if link.session == session)

    # ----------------------------------------------------------------------------------------- what links ask for

    def cover(self, session: str, until_s: float) -> bool:
        """See `hub.Hub`."""
        if until_s <= self._stamped_s.get(session, -math.inf):
            return True
        for_s = until_s + _SLACK_S - boot.uptime_s()
        try:
            stamp = stamps.write(
                self._spool, session, for_s=for_s, length_s=self._lengths_s.get(session, self._length_s)
            )
        except OSError as error:
            self.remark(f"cannot prolong the leases of the nodes: {error.strerror or error}", is_warning=True)
            return False
        self._stamped_s[session] = stamp.until_s
        return True

    def call(self, node: str, op: str, body: str, take: Callable[[Arrival, float], None]) -> int:
        """See `hub.Hub`."""
        number = self._carrier.call(node, op, body)
        self._calls[number] = take
        return number

    def meet_stranger(self, node: str, end: protocol.RunEnd) -> bool:
        """See `hub.Hub`: the end goes to whoever waits for it, and may be forgotten if nobody ever will."""
        for link in (*self._links.values(), *self._parted):
            command = link.commands.get(end.run)
            if command is not None and link.node == node:
                command.end = command.end or end
                return False
        return not self._is_wanted(end.run)

    def _is_wanted(self, run: str) -> bool:
        """Return whether a job in running/ waits for the outcome of this run."""
        try:
            _, job_id, attempt = protocol.run_parts(run)
            standing = self._spool.read(RUNNING, record_name(job_id)).record.standing()
        except (OSError, DamagedRecordError, ValueError):
            return False
        return standing.starts == attempt and standing.last is not None and standing.last.event not in OUTCOMES

    def part(self, session: str, node: str, commands: list[Command], lease: PoolLease) -> None:
        """See `hub.Hub`."""
        apart = Link(self, session, node, lease)
        apart.commands.update((command.run, command) for command in commands)
        self._parted.append(apart)

    def remark(self, text: str, *, is_warning: bool = False) -> None:
        """See `hub.Hub`."""
        self.remark_to(text, is_warning)
