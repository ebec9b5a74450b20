"""One pool: which job is next, which worker gets it, how people control it, how it ends (FORMAT.md, 4, 7 and 8)."""

__all__ = ["notices", "options", "preflight", "run"]
