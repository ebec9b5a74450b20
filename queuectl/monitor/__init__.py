"""How the queue is doing, a file for each command that looks (FORMAT.md, section 8). Only looks: changes nothing."""

__all__ = [
    "arriving",
    "chart",
    "history",
    "inboxes",
    "live",
    "logs",
    "metrics",
    "order",
    "page",
    "rejected",
    "results",
    "rows",
    "snapshot",
    "stats",
    "status",
    "steps",
    "survey",
    "waiting",
    "why",
]
