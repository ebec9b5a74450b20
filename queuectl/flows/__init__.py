"""When a job may start: limits, rates and circuit breakers of queues and keys, and parents (FORMAT.md, section 4)."""

__all__ = [
    "admission",
    "boards",
    "dependencies",
    "gates",
    "halts",
    "rates",
]
