"""What a job is and what can happen to it: texts in, values out (FORMAT.md, section 3).

Pure: no disk, no clock, no process.
"""

__all__ = [
    "command",
    "document",
    "exit_status",
    "folding",
    "history",
    "inbox",
    "job",
    "lifecycle",
    "mistakes",
    "names",
    "notice",
    "order",
    "patterns",
    "programs",
    "record",
    "retry",
    "round_robin",
    "run_queue",
    "seal",
    "setting",
    "settings",
    "sizes",
    "text",
    "times",
    "unknown_keys",
]
