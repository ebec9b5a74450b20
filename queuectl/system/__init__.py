"""The operating system: the one door to the disk, locks, clocks, watches, processes. Knows nothing of a queue."""

__all__ = [
    "acting",
    "clock",
    "disk",
    "environment",
    "forked",
    "libc",
    "locks",
    "processes",
    "selector",
    "volume",
    "wakeup",
    "watch",
]
