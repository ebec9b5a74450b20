"""Planted bugs: each is put into a copy of the package, and the tests that are named must go red there.

    python -m tests.crash.planted             all of them (half an hour); prints the table of docs/testing.md
    python -m tests.crash.planted publish     those with this word in their names

The tree itself is never touched: package and tests are copied to a temporary folder and run there. A bug whose place
is not in the source any more says so, and is to be planted anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.crash import bugs, file_bugs, flow_bugs, rate_bugs, schedule_bugs, unique_bugs
from tests.crash.bugs import Bug

ROOT = Path(__file__).parents[2]
BUGS = (*bugs.BUGS, *flow_bugs.BUGS, *file_bugs.BUGS, *rate_bugs.BUGS, *unique_bugs.BUGS, *schedule_bugs.BUGS)
# Storms, and sweeps of flows, are marked slow; here they run all the same. Other sweeps run in full where their
# default part finds nothing.
_WITH_SLOW = {flow_bugs.GATE_STORM, flow_bugs.FAMILIES, flow_bugs.FLOWS, unique_bugs.STORM, schedule_bugs.SCHEDULES}


def places(bug: Bug) -> int:
    """How often the text that a bug takes the place of is in the source: once, or it is to be planted anew."""
    return (ROOT / "queuectl" / f"{bug.module}.py").read_text().count(bug.old)


def copy(folder: Path) -> None:
    """Copy package and tests."""
    skipped = shutil.ignore_patterns("__pycache__", ".git", ".hypothesis")
    for part in ("queuectl", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)


@contextlib.contextmanager
def planted(bug: Bug, folder: Path) -> Iterator[None]:
    """Have the bug in the copy within the block."""
    path = folder / "queuectl" / f"{bug.module}.py"
    text, times = path.read_text(), path.stat()
    path.write_text(text.replace(bug.old, bug.new))
    try:
        yield
    finally:  # with its old time too, or Python would take what it has compiled of the bug for this text
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def caught_by(folder: Path, names: tuple[str, ...]) -> tuple[list[str], str]:
    """Run tests in a folder; the names of the files of those that went red, with how many, or why they did not run.

    Where nothing goes red, those marked slow run too.
    """
    red, trouble = [], ""
    for slow in (True,) if _WITH_SLOW.intersection(names) else (False, True):
        red, trouble = _run(folder, names, slow=slow)
        if red:
            break
    return red, trouble


def _run(folder: Path, names: tuple[str, ...], *, slow: bool) -> tuple[list[str], str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "QUEUECTL_STORM_S": "8", "QUEUECTL_STORM_JOBS": "60"}
    words = [sys.executable, "-m", "pytest", "--tb=no", "-p", "no:cacheprovider", "--timeout=60", "-n", "2"]
    words += ["-m", "slow or not slow"] if slow else []
    words += [f"tests/{name}" for name in names]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    red = re.findall(r"^(?:FAILED|ERROR) tests/([\w/.]+)", done.stdout, re.MULTILINE)
    if not red and " passed" not in done.stdout:
        return [], f"did not run: {done.stdout[-300:]} {done.stderr[-300:]}"
    return [f"`{name}` ({red.count(name)})" for name in names if name in red], ""


def main(words: list[str]) -> int:
    """See the top of this file."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="queuectl-planted-") as name:
        copy(Path(name))
        for bug in [bug for bug in BUGS if not words or any(word in bug.what for word in words)]:
            red, trouble = [], ""
            if places(bug) != 1:
                trouble = f"its place is there {places(bug)} times in {bug.module}.py"
            else:
                with planted(bug, Path(name)):
                    red, trouble = caught_by(Path(name), bug.tests)
            missed += not red
            print(f"| {bug.what} | {trouble or ', '.join(red) or '**nothing**'} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
