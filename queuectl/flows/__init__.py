"""When a job may start: the limits of queues and keys (FORMAT.md, section 4, "Queues and keys")."""

__all__ = [
    "admission",
    "boards",
    "gates",
]
