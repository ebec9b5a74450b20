"""Every move of the state table as steps on disk, one file per move (FORMAT.md, sections 4 and 5)."""

__all__ = [
    "arguments",
    "budget",
    "cancel",
    "claim",
    "edit",
    "enqueue",
    "error_text",
    "hold",
    "lines",
    "purge",
    "reject",
    "repair",
    "requeue",
    "rescue",
    "settle",
    "split",
    "splitter",
    "triage",
    "verdict",
]
