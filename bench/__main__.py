"""`python -m bench`: measure queuectl on this machine and print tables. Never passes or fails by time."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

from bench import (
    backlog,
    cluster,
    gates,
    idle,
    latency,
    looking,
    machine,
    parents,
    peers,
    producing,
    slots,
    spools,
    throughput,
)

WORKS = {
    "A": "throughput beside xargs, and one long job among short ones",
    "B": "latency on an idle pool",
    "C": "cost with many waiting jobs",
    "D": "putting jobs in",
    "E": "an idle pool, and pools with many slots",
    "F": "looking at many done jobs",
    "G": "jobs on the nodes of a cluster",
    "H": "limits of queues and keys, and jobs that wait for others",
}
# C last: it makes the most files, and what was made is deleted only at the end.
_ORDER = "ABDEFGHC"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure queuectl on this machine. {'; '.join(f'{key}: {text}' for key, text in WORKS.items())}.",
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help="A to H (default: all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small and noisy: under a minute")
    size.add_argument("--full", action="store_true", help="more repetitions, and a million waiting jobs")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where to work: decides the file system")
    parser.add_argument("--peers", default="", help="other queues for A and B: all, or " + ", ".join(peers.ADAPTERS))
    found = parser.parse_args()
    found.works = [word.upper() for word in found.works] or list(WORKS)
    if unknown := set(found.works) - set(WORKS):
        parser.error(f"there is no work {', '.join(sorted(unknown))}")
    return found


def _others(wanted: str) -> list[str]:
    """The peers that can take part; the others are told."""
    names = list(peers.ADAPTERS) if wanted == "all" else [name for name in wanted.split("; ") if name]
    able = []
    for name in names:
        if name not in peers.ADAPTERS:
            print(f"{name} is left out: not known; several are separated by '; '")
        elif why := peers.ADAPTERS[name].missing():
            print(f"{name} is left out: {why}")
        else:
            able.append(name)
    return able


def main() -> None:
    """Measure what was asked for."""
    given = _arguments()
    if os.name == "nt":
        sys.exit("the measurements need POSIX (wait4, xargs)")
    machine.adopt_orphans()
    parent = os.path.abspath(given.dir)
    began_s = time.monotonic()
    print(f"# queuectl: {'quick' if given.quick else 'full' if given.full else 'default'} measurement")
    print(f"\n{machine.describe(parent)}\n")
    others = _others(given.peers)
    try:
        with spools.folder(parent) as folder:  # compiles the package where that has not been done
            throughput.empty_pool(folder, 1)
            machine.run(spools.queuectl(spools.make(folder), "status"), cwd=folder)
        for work in sorted(given.works, key=_ORDER.index):
            _measure(work, parent, quick=given.quick, full=given.full, others=others)
    finally:
        spools.sweep()
    print(f"{time.monotonic() - began_s:.0f} s; load now {os.getloadavg()[0]:.1f}")


def _measure(work: str, parent: str, *, quick: bool, full: bool, others: list[str]) -> None:
    """One of the works, in the size that was asked for."""
    if work == "A":
        repetitions = 2 if quick else 9 if full else 5
        jobs = 300 if quick else 3000
        for workers in (2,) if quick else (2, 8):
            throughput.measure(parent, jobs=jobs, repetitions=repetitions, workers=workers, others=others, short=quick)
        throughput.mixed(parent, jobs=200 if quick else 1000, long_s=2 if quick else 60 if full else 10)
    elif work == "B":
        latency.measure(parent, count=15 if quick else 100, others=others)
    elif work == "C":
        sizes = (1_000, 5_000) if quick else (1_000, 10_000, 100_000, 1_000_000) if full else (1_000, 10_000, 100_000)
        backlog.measure(parent, sizes=sizes, jobs=300 if quick else 900, repetitions=1 if quick else 2)
        few, many = (200, 2_000) if quick else (2_000, 100_000)
        backlog.measure(
            parent, sizes=sizes, jobs=300 if quick else 900, repetitions=1 if quick else 2, flags=backlog.FLAGS
        )
        backlog.measure_own_ids(parent, few=few, many=many, repetitions=1 if quick else 5)
    elif work == "D":
        producing.measure(
            parent,
            lines=1_000 if quick else 10_000,
            single=50 if quick else 500,
            repetitions=1 if quick else 3,
            processes=3 if quick else 15,
        )
    elif work == "E":
        idle.measure(parent, seconds=2 if quick else 10)
        slots.measure(parent, counts=slots.COUNTS[:3] if quick else slots.COUNTS, repetitions=1 if quick else 5)
    elif work == "F":
        looking.measure(parent, done=5_000 if quick else 100_000, repetitions=2 if quick else 5)
    elif work == "G":
        cluster.measure(
            parent,
            jobs=300 if quick else 2000,
            repetitions=1 if quick else 5 if full else 3,
            slots=64,
            idle=10 if quick else 100,
            in_flight=40 if quick else 400,
        )
    elif work == "H":
        repetitions = 1 if quick else 9 if full else 5
        gates.measure(parent, jobs=300 if quick else 3000, repetitions=repetitions, behind=2_000 if quick else 100_000)
        parents.measure(
            parent,
            blocked=1_000 if quick else 100_000,
            pairs=10 if quick else 50,
            jobs=300 if quick else 5_000,
            group=300 if quick else 100_000 if full else 10_000,
            repetitions=1 if quick else 3,
            seconds=2 if quick else 10,
        )


if __name__ == "__main__":
    main()
