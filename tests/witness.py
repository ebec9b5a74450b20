"""The command that test jobs run: it leaves evidence outside the spool.

usage: witness.py FILE SECONDS[,SECONDS...] EXIT_CODE FAIL_FIRST

Appends `S ID PID NANOSECONDS` when it starts and `E ...` when it ends, each in one write, and `O ...` where it finds
another run of the same job alive (a lock that only a live run holds). Fails while fewer than FAIL_FIRST runs of this
job have ended before. Of several SECONDS the n-th counts for the n-th run, the last for those after it. In the place
of SECONDS, `@PATH` has the run last until that file exists.
"""

from __future__ import annotations

import os
import sys
import time


def try_lock(fd: int) -> bool:
    """Take a lock that ends with this process; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock back (Windows)."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)


def main() -> int:
    path, seconds, code, fail_first = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])
    job_id = os.environ["QUEUECTL_JOB_ID"]
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    pen = os.open(f"{path}.pen", os.O_RDWR | os.O_CREAT, 0o644)

    def note(kind: str) -> None:
        line = f"{kind} {job_id} {os.getpid()} {time.monotonic_ns()}\n".encode()
        if sys.platform == "win32":  # where appending is a seek and a write, which others can come between
            while not try_lock(pen):
                time.sleep(0.001)
            os.write(fd, line)
            unlock(pen)
        else:
            os.write(fd, line)

    lock = os.open(f"{path}.{job_id}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    if not try_lock(lock):
        note("O")
    note("S")
    lasts = seconds[min(int(os.environ["QUEUECTL_ATTEMPT"]), len(seconds)) - 1]
    if lasts.startswith("@"):
        while not os.path.exists(lasts[1:]):
            time.sleep(0.005)
    else:
        time.sleep(float(lasts))
    if fail_first:
        with open(path, "rb") as file:
            ended = sum(1 for line in file if line.startswith(f"E {job_id} ".encode()))
        code = code or (1 if ended < fail_first else 0)
    note("E")
    return code


if __name__ == "__main__":
    sys.exit(main())
