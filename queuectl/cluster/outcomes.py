"""What a keeper keeps of runs that are over, until the pool has it: outcomes (`ends`) and outputs (`places`).

An outcome is on disk before it is known (promise P4), and its acknowledgement before another run gets its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from queuectl.cluster.ends import Ends, Told
from queuectl.cluster.places import Place, Places
from queuectl.cluster.protocol import BEAT_OUTPUT_BYTES, BeatRequest, Piece, ReadAnswer, RunEnd
from queuectl.cluster.runs import Command
from queuectl.cluster.scratch import Scratch
from queuectl.system import boot


class Outcomes:
    """The outcomes that are not acknowledged. It first ends what predecessors left (see `places.Places.bury`).

    Raises:
        OSError: the scratch folder cannot be read or written.
    """

    def __init__(self, scratch: Scratch, *, bury_within_s: float) -> None:
        self.places = Places(scratch.runs)
        self._ends = Ends(scratch.ends, boot.boot_id())
        self.told: list[Told] = self._ends.load()
        """Those of predecessors."""
        self._resting = {each.end.run: self.places.at(each.place) for each in self.told if each.place >= 0}
        self._unproven: set[str] = set()
        """Runs of which something may still write to its output."""
        self.is_buried = self.bury(bury_within_s)

    def bury(self, within_s: float) -> bool:
        """Return whether nothing of a predecessor lives; end it."""
        self.is_buried = self.places.bury(within_s, {place.number for place in self._resting.values()})
        return self.is_buried

    def __contains__(self, run: object) -> bool:
        return self._ends.find(str(run)) is not None

    def add(self, over: Iterable[tuple[Command, RunEnd]]) -> None:
        """Put outcomes on disk, as far as that has room, and keep the outputs."""
        for command, end in over:
            self._ends.add(command.session, end, command.place.number)
            self._resting[end.run] = command.place
            self.places.rest(command.place)
            if not command.is_proven:
                self._unproven.add(end.run)
        self._flush()

    def add_unstarted(self, session: str, end: RunEnd) -> None:
        """Put the outcome of a command on disk that could not be started."""
        self._ends.add(session, end, -1)
        self._flush()

    def forget(self, runs: list[str]) -> None:
        """Note on disk that these are acknowledged, then let later runs have their places."""
        for run in runs:
            self._ends.forget(run)
        self._flush()
        for run in runs:
            if (place := self._resting.pop(run, None)) is not None:
                self.places.give_back(place, is_proven=run not in self._unproven)
            self._unproven.discard(run)

    def last_pieces(self, beat: BeatRequest, ended: Iterable[RunEnd]) -> list[Piece]:
        """Return what these runs printed last, as far as a beat may hold it, so that it need not be asked for."""
        found, room = [], BEAT_OUTPUT_BYTES
        for end in ended:
            offset = beat.output.get(end.run, 0)  # a pool ignores what it has already
            if 0 <= offset < end.output_bytes <= offset + room:
                found.append(Piece(end.run, offset, self.read(end.run, offset, end.output_bytes - offset).data))
                room -= end.output_bytes - offset
        return found

    def read(self, run: str, offset: int, most: int) -> ReadAnswer:
        """Return a part of an output; empty if there is none. Raises OSError."""
        place: Place | None = self._resting.get(run)
        return ReadAnswer(b"", 0) if place is None else ReadAnswer(*place.read(offset, most))

    def close(self) -> None:
        """Put all on disk for certain, as far as it takes it."""
        with contextlib.suppress(OSError):
            self.places.sync()
            self._ends.close()

    def _flush(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: it is in memory, and the pool still hears of it
            self._ends.flush()
