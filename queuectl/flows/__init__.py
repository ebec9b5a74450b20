"""When a job may start: the limits of queues and keys, and its parents (FORMAT.md, section 4)."""

__all__ = [
    "admission",
    "boards",
    "dependencies",
    "gates",
]
