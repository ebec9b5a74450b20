"""Which start of this machine this is, and how long ago it was, by a clock that goes on while the machine sleeps."""

from __future__ import annotations

import functools
import sys
import time

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@functools.cache
def boot_id() -> str:
    """Return a name for this start of the machine; "" if the system has none (it has one on Linux)."""
    if sys.platform != "linux":
        return ""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def uptime_s() -> float:
    """Return how long the machine is up, in seconds, time asleep included (on Linux: CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
