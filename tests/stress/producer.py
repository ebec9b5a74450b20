"""A producer for the kill storm: enqueues jobs one by one, and says before each that it tries and after it that it did.

usage: producer.py SPOOL NOTES PAUSE_S FIRST LAST JOBS

JOBS is a JSON array of documents; job number N is JOBS[N % len(JOBS)] with the id `jobN`. NOTES gets `T jobN` before
and `A jobN` after each, in one write each: a job with a T and no A may be there or not.
"""

from __future__ import annotations

import json
import os
import sys
import time

from queuectl.api import Spool


def main() -> None:
    root, notes, pause_s, first, last, jobs = sys.argv[1:]
    documents = json.loads(jobs)
    fd = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    spool = Spool(root)
    for number in range(int(first), int(last)):
        os.write(fd, f"T job{number}\n".encode())
        spool.enqueue_many([{**documents[number % len(documents)], "id": f"job{number}"}])
        os.write(fd, f"A job{number}\n".encode())
        time.sleep(float(pause_s))


if __name__ == "__main__":
    main()
