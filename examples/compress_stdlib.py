"""Real work: compress every file of Python's standard library, one job a file, and compare with doing it directly.

    python examples/compress_stdlib.py

Half of the jobs are enqueued through the library and half are dropped as files, into a temporary spool; a pool of two
workers runs them. Each result is compared byte for byte with the same compression made here. Prints what it did and
exits 1 if one result is missing or different.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from queuectl import Spool

COMPRESS = (
    "import gzip, sys; data = open(sys.argv[1], 'rb').read(); "
    "open(sys.argv[2], 'wb').write(gzip.compress(data, 6, mtime=0))"
)


def library_files() -> list[Path]:
    """The standard library's own Python files; those of the packages where it is zipped, as on some Windows."""
    root = Path(sysconfig.get_paths()["stdlib"])
    packages = {"site-packages", "dist-packages"}
    found = [path for path in root.rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(path for path in found if not packages & set(path.parts)) or sorted(found)


def main() -> int:
    """Run the example; 0 where all results are right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=None, help="compress only the first N files")
    parser.add_argument("--count", type=int, default=2, help="worker processes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuectl-example-") as folder:
        return run(Path(folder), library_files()[: arguments.limit], arguments.count)


def run(folder: Path, files: list[Path], count: int) -> int:
    """Compress `files` through a spool in `folder`, check the results, return the exit code."""
    results = folder / "results"
    results.mkdir()
    spool = Spool.create(folder / "spool")
    jobs = [
        # -I -S: a Python that reads no settings and imports no site, so that each job starts fast
        {"command": [sys.executable, "-I", "-S", "-c", COMPRESS, str(path), str(results / f"{number}.gz")]}
        for number, path in enumerate(files)
    ]
    half = len(jobs) // 2
    spool.enqueue_many(jobs[:half])
    for number, job in enumerate(jobs[half:], half):
        # As any other program would: write it under a name that is no job's, then rename it.
        dropped = Path(spool.path) / "pending" / f"compress-{number}.json"
        dropped.with_suffix(".tmp").write_text(json.dumps(job), encoding="utf-8")
        os.rename(dropped.with_suffix(".tmp"), dropped)
    print(f"{len(jobs)} files: {half} jobs enqueued, {len(jobs) - half} dropped into {spool.path}")

    began = time.monotonic()
    worker = [sys.executable, "-m", "queuectl", "--spool", spool.path, "worker", "start", "--count", str(count)]
    subprocess.run([*worker, "--drain"], check=True, stdout=subprocess.DEVNULL)
    took_s = time.monotonic() - began

    wrong = [
        str(path)
        for number, path in enumerate(files)
        if not (results / f"{number}.gz").exists()
        or (results / f"{number}.gz").read_bytes() != gzip.compress(path.read_bytes(), 6, mtime=0)
    ]
    counts = spool.counts()
    print(f"done {counts.done}, dead {counts.dlq}, waiting {counts.pending} in {took_s:.1f} s")
    print(f"{len(files) - len(wrong)} of {len(files)} results are the same, byte for byte")
    for path in wrong[:10]:
        print(f"missing or different: {path}")
    return 1 if wrong or counts.done != len(jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
