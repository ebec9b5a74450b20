"""Defines jobs, their states and the settings: converts texts to values (FORMAT.md, section 3).

Pure: no disk, no clock, no process.
"""

__all__ = [
    "command",
    "document",
    "exit_status",
    "expiry",
    "extras",
    "folding",
    "history",
    "inbox",
    "job",
    "lifecycle",
    "mistakes",
    "names",
    "notice",
    "order",
    "parents",
    "patterns",
    "programs",
    "progress",
    "queues",
    "record",
    "retry",
    "round_robin",
    "run_queue",
    "seal",
    "setting",
    "settings",
    "sizes",
    "spec",
    "text",
    "times",
    "unknown_keys",
]
