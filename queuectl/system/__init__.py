"""The operating system: all access to the disk; locks, clocks, watches, processes. Knows nothing about queues."""

__all__ = [
    "acting",
    "boot",
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
