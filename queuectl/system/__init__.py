"""The operating system: the one door to the disk, locks, clocks, watches, processes. Knows nothing of a queue."""

__all__ = [
    "acting",
    "clock",
    "disk",
    "environment",
    "files",
    "forked",
    "libc",
    "locks",
    "processes",
    "rights",
    "selector",
    "sharing",
    "volume",
    "wakeup",
    "watch",
    "win32",
]
