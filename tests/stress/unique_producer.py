"""A producer for the storm on unique keys: enqueues jobs and drops files, and says which jobs it was told are added.

usage: unique_producer.py SPOOL NOTES FIRST LAST JOBS

JOBS is a JSON array of documents; job number N is JOBS[N % len(JOBS)], under the id `KEY-N`. Every third one is a file
in pending/. NOTES gets a line for each job that is acknowledged: `A ID` (added), `D ID` (dropped), `S ID` (skipped).
"""

from __future__ import annotations

import json
import os
import sys

from queuectl.api import Spool


def main() -> None:
    root, notes, first, last, jobs = sys.argv[1:]
    documents = json.loads(jobs)
    fd = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    spool = Spool(root)
    for number in range(int(first), int(last)):
        document = documents[number % len(documents)]
        job_id = f"{document['unique']}-{number}"
        if number % 3:
            [given] = spool.enqueue_many([{**document, "id": job_id}])
            os.write(fd, f"{'A' if given.added else 'S'} {job_id}\n".encode())
            continue
        aside = os.path.join(root, ".queuectl", "tmp", f"{job_id}.drop")
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(aside, os.path.join(root, "pending", f"{job_id}.json"))
        os.write(fd, f"D {job_id}\n".encode())


if __name__ == "__main__":
    main()
