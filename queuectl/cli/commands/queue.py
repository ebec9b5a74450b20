"""`queuectl queue`: show the queues of a spool, their limits, and what waits for them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from queuectl.api import Spool
from queuectl.cli import completion, context, group
from queuectl.cli.commands.control import check_queue
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import line, paint, safe
from queuectl.errors import QueuectlError
from queuectl.flows import boards
from queuectl.model import times
from queuectl.monitor import live, queues
from queuectl.monitor.queues import QueueRow
from queuectl.monitor.rows import PoolRow

app = group.new_app(
    no_args_is_help=True,
    help="Show queues and their limits.\n\nExample: queuectl queue list\n\n"
    "A job names its queue with --queue. The settings limit a queue: queuectl config set queues.mail.slots 4",
)

_HEADERS = ("QUEUE", "WAITING", "RUNNING", "SLOTS", "PER KEY", "RATE", "FAILURES", "WEIGHT", "NOTE")
_WHO = 20


@app.command("list", short_help="List all queues.")
def list_(as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False) -> None:
    """List all queues.

    Example: queuectl queue list

    A queue is listed if it has jobs, settings or a pause. In a pipe, the columns are separated by tabs.
    """
    spool, now_at = context.open_anyway(), time.time()
    found = _rows(spool, live.rows(spool.folder, now_at), now_at)
    if as_json:
        printing.print_json({"version": 1, "queues": [_as_json(row) for row in found]})
        return
    none = "" if printing.is_terminal() else "-"  # an empty column is left out of a table
    printing.table(_HEADERS, [_row(row, none) for row in found])


@app.command(short_help="Show one queue.")
def show(
    queue: Annotated[
        str,
        typer.Argument(
            metavar="QUEUE", show_default=False, help="Name of the queue.", autocompletion=completion.queues()
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Show one queue.

    Example: queuectl queue show mail

    It shows the limits, the pools that take the queue, the running jobs that count, and the keys that most jobs wait
    for. Jobs that wait for another job are not counted. Failures are failed runs in a row, of a queue with a circuit
    breaker.
    """
    check_queue(queue)
    spool = context.open_anyway()
    now_at = time.time()
    pools = live.rows(spool.folder, now_at)
    row = next((row for row in _rows(spool, pools, now_at) if row.queue == queue), None)
    if row is None:
        raise QueuectlError(f"there is no queue {queue!r}", hint="to list the queues: queuectl queue list")
    takers = [pool for pool in pools if queues.is_taken(queue, [pool])]
    inside = boards.alive(spool.folder, boards.read(spool.folder, queue))
    if as_json:
        running = [{"id": entry.job_id, "key": entry.key} for entry in inside]
        printing.print_json({"version": 1, **_as_json(row), "pools": [pool.pool for pool in takers], "inside": running})
        return
    line(paint(f"queue {safe(row.queue)}", "bold"))
    line(f"  waiting  {row.waiting}")
    line(f"  running  {row.running}" + (f" of {row.slots}" if row.slots else ""))
    line(f"  per key  {row.per_key}")
    line(f"  weight   {row.weight}")
    if row.rate:
        line(f"  rate     {row.rate}")
    if row.failures:
        line(f"  failures {row.failures} in a row")
    if state := _state(row):
        line(f"  state    {paint(safe(state), 'yellow')}")
    for pool in takers:
        line(f"  taken by {safe(pool.pool)} ({printing.count_of(pool.workers, 'slot')})")
    if not pools:
        line("  taken by no workers, because none are running: queuectl worker start")
    for entry in inside[:_WHO]:
        line(f"  inside   {safe(entry.job_id)}" + (f"  key {safe(entry.key)}" if entry.key else ""))
    for key in row.keys:
        line(f"  key      {safe(key.key)}: {key.waiting} waiting, {key.running} running")


def _rows(spool: Spool, pools: tuple[PoolRow, ...], now_at: float) -> tuple[QueueRow, ...]:
    return queues.rows(spool.folder, spool.folder.waiting_names(), spool.settings.queues, pools, now_at)


def _as_json(row: QueueRow) -> dict[str, Any]:
    instants = {"paused_until": row.paused_until, "rate_next_at": row.rate_next_at}
    texts = {name: None if at is None else times.to_text(at) for name, at in instants.items()}
    return {**row._asdict(), **texts, "keys": [key._asdict() for key in row.keys]}


def _row(row: QueueRow, none: str) -> tuple[str, ...]:
    slots = str(row.slots) if row.slots else none
    return (
        row.queue,
        str(row.waiting),
        str(row.running),
        slots,
        str(row.per_key),
        row.rate or none,
        str(row.failures) if row.failures else none,
        str(row.weight),
        _state(row),
    )


def _state(row: QueueRow) -> str:
    until = f" until {printing.moment(row.state_until)}" if row.state_until is not None else ""
    return f"{row.state}{until}"
