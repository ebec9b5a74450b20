"""The folder: where everything is, who holds it, how it is read and changed (FORMAT.md, section 2)."""

__all__ = [
    "access",
    "anchor",
    "blame",
    "cancel_requests",
    "clock_note",
    "create",
    "folder",
    "layout",
    "lease",
    "listing",
    "lookup",
    "output",
    "pause",
    "pools",
    "rejected",
    "roster",
    "session",
    "settings_file",
    "stripes",
    "trust",
]
