"""A worker process: claims the names that it is handed, runs commands, settles, reports (FORMAT.md, section 4)."""

__all__ = ["messages", "process"]
