"""Runs the pool that `worker start` asks for, in this process."""

from __future__ import annotations

import os

from queuectl.cli import context
from queuectl.cli.events import Printer
from queuectl.cli.start_words import Wanted
from queuectl.cli.terminal import printing
from queuectl.pool.options import Options
from queuectl.pool.run import run_pool


def run(wanted: Wanted) -> None:
    """Run the pool until it ends, and print its events. Raises as `run_pool`."""
    folder, settings = context.open_with_settings()
    slots = (0 if wanted.is_cluster else 1) if wanted.slots is None else wanted.slots
    cluster_slots = (wanted.cluster_slots or settings.cluster_slots) if wanted.is_cluster else 0
    printer = Printer(as_json=wanted.as_json, workers=slots, spool=folder.root, cluster_slots=cluster_slots)
    options = Options(
        slots=slots,
        cwd=os.getcwd(),
        drain=wanted.drain,
        max_jobs=wanted.max_jobs,
        queues=wanted.queues,
        cluster_slots=cluster_slots,
    )
    if wanted.grace_s is not None:
        settings = settings._replace(stop_grace_s=wanted.grace_s)
    printer.end(run_pool(folder, settings, options, printer.tell, warn=warn))


def warn(text: str) -> None:
    """Print a warning of the checks before the start."""
    printing.remark(f"warning: {printing.safe(text)}")
