"""Prints the events of `worker start`: one readable line per event, or one JSON object."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from queuectl.cli.terminal.printing import give_up_streams, safe, silence
from queuectl.maintenance.rescuer import Rescued
from queuectl.model import exit_status, times
from queuectl.model.lifecycle import CANCELLED, DLQ, RELEASED, SNOOZED, SUCCEEDED
from queuectl.model.notice import INFO, Notice
from queuectl.pool.notices import Event
from queuectl.spool.pools import StopSummary
from queuectl.worker.messages import Defect, Finished, Started, Trouble, Vanished


def _unfolded(events: list[Event]) -> Iterator[Event]:
    """Yield the events, and before the end of a short attempt its start, which was not reported on its own."""
    for event in events:
        if isinstance(event, Finished) and event.command:
            yield Started(event.name, event.job_id, event.attempt, event.command)
        yield event


class Printer:
    """Writes the events of a pool to standard output."""

    def __init__(self, *, as_json: bool, workers: int, spool: str, cluster_slots: int = 0) -> None:
        self._as_json = as_json
        self._workers = workers
        self._cluster_slots = cluster_slots
        self._spool = spool

    def tell(self, events: list[Event]) -> None:
        """Print some events with one write."""
        lines = self._as_documents(events) if self._as_json else self._as_texts(events)
        try:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            # The reader of the lines has gone, or their disk is full; the pool continues.
            if getattr(error, "errno", 0) in (errno.EPIPE, errno.EIO, errno.EINVAL):
                silence(1)

    def _as_documents(self, events: list[Event]) -> list[str]:
        stamp = times.to_text(time.time())
        described = map(self._describe, _unfolded(events))
        return [
            json.dumps({"at": stamp, "event": kind, **facts}, ensure_ascii=True) + "\n"
            for kind, text, facts in described
            if text
        ]

    def _as_texts(self, events: list[Event]) -> list[str]:
        """Return the lines. The ends of attempts, a thousand a second, take few calls and are checked together."""
        texts = []
        for event in events:
            if isinstance(event, Finished):
                if event.command:
                    texts.append(f"started    {event.job_id}  {event.command}")
                texts.append(self._text_of_end(event))
            elif text := self._describe(event)[1]:
                texts.append(text)
        whole = "".join(texts)
        if not (whole.isascii() and whole.isprintable()):
            texts = list(map(safe, texts))
        stamp = time.strftime("%H:%M:%S", time.localtime())
        return [f"{stamp} {text}\n" for text in texts]

    def end(self, summary: StopSummary) -> None:
        """Print the last line."""
        text = f"after {summary.finished} attempt{'s' * (summary.finished != 1)}"
        if summary.released:
            text += f"; put back: {', '.join(summary.released)}"
        if summary.left:
            text += f"; go on on their nodes: {', '.join(summary.left)}"
        self.tell([Notice(INFO, "pool_ended", text)])
        give_up_streams()  # the pool's work counts, even if nobody reads the output

    def _describe(self, event: Event) -> tuple[str, str, dict[str, Any]]:
        if isinstance(event, Started):
            facts: dict[str, Any] = {"id": event.job_id, "attempt": event.attempt, "command": event.command}
            return "started", f"started    {event.job_id}  {event.command}", facts
        if isinstance(event, Finished):
            return event.outcome.kind, self._text_of_end(event), _facts_of_end(event)
        if isinstance(event, Rescued):
            settled = event.settled
            facts = {"id": event.job_id, "to": settled.to, "reason": settled.reason}
            text = f"rescued    {event.job_id}  {settled.reason}; now in {settled.to}/"
            return "rescued", text, facts
        if isinstance(event, Vanished):
            how = event.outcome.kind
            end = "was ended" if how == CANCELLED else how.replace("_", " ")
            text = f"vanished   {event.job_id}  its file was removed while it was running; its command {end}"
            return "vanished", text, {"id": event.job_id, "outcome": how}
        if isinstance(event, Trouble):
            return "trouble", f"trouble    {event.text}", {"text": event.text}
        if isinstance(event, Defect):
            text = f"defect     {event.job_id}  its run ended by a defect of queuectl: {event.text}; please report it"
            return "defect", text, {"id": event.job_id, "text": event.text}
        if isinstance(event, Notice):
            return self._notice(event)
        return "", "", {}

    def _notice(self, event: Notice) -> tuple[str, str, dict[str, Any]]:
        text = event.text
        if event.kind == "pool_started":
            slots = f"{self._workers} slot{'s' * (self._workers > 1)}"
            if self._cluster_slots:
                slots = f"up to {self._cluster_slots} slots on nodes" + (f" and {slots} here" if self._workers else "")
            text = f"{event.text} started with {slots} for {self._spool}; press Ctrl-C to stop"
            return event.kind, text, {"pool": event.text, "workers": self._workers, "spool": self._spool}
        return event.kind, f"{event.kind.replace('_', ' '):<10} {text}", {"level": event.level, "text": text}

    @staticmethod
    def _text_of_end(event: Finished) -> str:
        outcome, settled = event.outcome, event.settled
        took = f" in {times.format_duration(outcome.duration_s)}" if outcome.duration_s is not None else ""
        word = outcome.kind.replace("_", " ")
        text = f"{word:<10} {event.job_id}{took}"
        others = exit_status.others(outcome.killed, outcome.left) if outcome.killed or outcome.left else ""
        if outcome.kind == SUCCEEDED:
            return f"{text}  {others}" if others else text
        code = f"exit {outcome.exit_code}" if outcome.exit_code is not None else ""
        text += "  " + "; ".join(part for part in (code, settled.reason, others) if part)
        if settled.to == DLQ:
            text += f"; to dlq/: queuectl retry {event.job_id}"
        elif outcome.kind == SNOOZED and settled.delay_s is not None:
            text += f"; again in {times.format_duration(settled.delay_s)}, the attempt does not count"
        elif settled.delay_s is not None:
            number = f"{event.max_retries - event.runs_left} of {event.max_retries}"
            text += f"; retry {number} in {times.format_duration(settled.delay_s)}"
        elif outcome.kind == RELEASED:
            text += "; put back, the attempt does not count"
        return text


def _facts_of_end(event: Finished) -> dict[str, Any]:
    """Return the keys of the JSON of an end."""
    outcome, settled = event.outcome, event.settled
    facts = {
        "id": event.job_id,
        "attempt": event.attempt,
        "exit_code": outcome.exit_code,
        "duration_s": outcome.duration_s,
        "to": settled.to,
        "reason": settled.reason,
        "delay_s": settled.delay_s,
    }
    if outcome.kind != SUCCEEDED:
        facts = {key: value for key, value in facts.items() if value is not None}
    return facts | {key: pids for key, pids in (("killed", outcome.killed), ("left", outcome.left)) if pids}
