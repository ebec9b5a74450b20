"""A worker process: claims suggested names, runs commands, settles runs, reports (FORMAT.md, section 4)."""

__all__ = ["attendant", "executors", "messages", "parent_results", "process", "run", "slot", "stdin", "worker"]
