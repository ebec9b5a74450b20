"""The entry point of a worker process whose commands run on the nodes of a cluster."""

from __future__ import annotations

from multiprocessing.connection import Connection

from queuectl.cluster import carriers
from queuectl.cluster.executor import ClusterExecutor
from queuectl.cluster.worker import ClusterWorker
from queuectl.worker import process


def main(conn: Connection, root: str, settings: tuple[object, ...], spec: process.WorkerSpec) -> None:
    """Run a worker process to its end. Its arguments are those of `worker.process.main`."""
    session = process.begin(root, settings)
    executor = ClusterExecutor(
        session, carriers.make(session.settings), worker=spec.name, sends_env=carriers.sends_env(session.settings)
    )
    made = ClusterWorker(conn, session, executor, worker=spec.name, cwd=spec.cwd, slots=spec.slots, only=spec.queues)
    process.serve(made)
