"""The operating system: all access to the disk; locks, clocks, watches, processes. Knows nothing about queues."""

__all__ = [
    "acting",
    "boot",
    "clock",
    "containment",
    "disk",
    "environment",
    "files",
    "forked",
    "libc",
    "local_socket",
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
