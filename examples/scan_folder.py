"""Enqueue one job for each new document in a folder, such as the target folder of a scanner.

    python examples/scan_folder.py scans -- ./archive.sh

Everything after `--` is the command; each job gets the path of its document as the last argument. The command must move
the document out of the folder when it succeeds. A document is new once it has not changed for `--settle` seconds.
Run this by cron or a timer, once a minute: it looks once and ends.

The id of a job comes from the name and the time of its document. So a second look, or a look after a crash, finds the
id taken and enqueues nothing twice. A document whose job is dead stays in the folder until you retry the job.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from queuectl import DuplicateJobError, Spool


def main() -> None:
    """Look once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder with the documents")
    parser.add_argument("command", nargs="+", help="the program and its arguments, after --")
    parser.add_argument("--spool", default="spool", help="the queue (default: spool)")
    parser.add_argument("--pattern", default="*.pdf", help="which files are documents (default: *.pdf)")
    parser.add_argument("--settle", type=float, default=10, metavar="SECONDS", help="how long a document must be quiet")
    arguments = parser.parse_args()
    spool = Spool(arguments.spool)
    for document in sorted(arguments.folder.glob(arguments.pattern)):
        try:
            info = document.stat()
        except FileNotFoundError:
            continue  # its job has just moved it
        if info.st_size == 0 or time.time() - info.st_mtime < arguments.settle:
            continue  # the scanner may still be writing
        name = re.sub(r"[^A-Za-z0-9]+", "-", document.stem).strip("-")[:60]
        job_id = f"scan-{name}-{info.st_mtime_ns}"
        try:
            spool.enqueue([*arguments.command, document.absolute()], id=job_id, tags=["scan"], timeout="10m")
        except DuplicateJobError:
            continue
        print(job_id)


if __name__ == "__main__":
    main()
