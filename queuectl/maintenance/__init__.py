"""Maintenance of a spool: `check` and `doctor` on demand; rescue, retention and repair while a pool runs.

FORMAT.md, section 6.
"""

__all__ = [
    "check",
    "cluster_lines",
    "debris",
    "doctor",
    "examination",
    "faults",
    "findings",
    "inbox_leftovers",
    "key_note_sweep",
    "leftovers",
    "ownership",
    "probes",
    "recovery",
    "refusals",
    "rejected_files",
    "repairs",
    "rescuer",
    "retention",
    "schedule_leftovers",
    "schedule_lines",
    "stale",
    "sweeper",
    "twins",
]
