"""A worker process: claims suggested names, runs commands, settles runs, reports (FORMAT.md, section 4)."""

__all__ = ["attendant", "executors", "messages", "process", "run", "slot", "worker"]
