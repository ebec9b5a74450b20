"""One pool: which job is next, which worker gets it, what people ask of it, how it ends (FORMAT.md, 4, 7 and 8)."""

__all__ = [
    "arrivals",
    "breaker",
    "dashboard",
    "dispatcher",
    "early_judge",
    "hooks",
    "housekeeping",
    "inbox_processes",
    "shutdown",
    "split_turns",
    "supervisor",
    "worker_process",
]
