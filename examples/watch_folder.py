"""Enqueue a rebuild when something in a folder changes: many changes in a row lead to one rebuild.

    python examples/watch_folder.py spool docs -- make site

The job has a unique key and takes the place of the one that waits, so this program need not know what is in the queue:
it may be stopped, started again or run twice. It looks at the folder once a second, and stops with Ctrl-C; with --once
it enqueues one rebuild and ends.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

from queuectl import Spool


def state_of(folder: str) -> dict[str, tuple[int, int]]:
    """Return the time and the size of each file in a folder and the folders below it."""

    def files() -> Iterator[os.DirEntry[str]]:
        left = [folder]
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        yield entry

    return {each.path: ((info := each.stat(follow_symlinks=False)).st_mtime_ns, info.st_size) for each in files()}


def main() -> None:
    """Watch the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spool")
    parser.add_argument("folder")
    parser.add_argument("command", nargs="+")
    parser.add_argument("--delay", default="2s", help="wait until nothing has changed for this long")
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()
    spool = Spool(args.spool)
    before: dict[str, tuple[int, int]] | None = None
    while True:
        now = state_of(args.folder)
        if now != before:
            key = f"rebuild {os.path.abspath(args.folder)}"
            job_id = spool.enqueue(args.command, unique=key, on_duplicate="replace", delay=args.delay)
            print(job_id, flush=True)
        if args.once:
            return
        before = now
        time.sleep(1)


if __name__ == "__main__":
    main()
