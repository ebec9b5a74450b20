"""Drop folders of other users: what may come in, and how it is handed over (FORMAT.md, section 9)."""

__all__ = [
    "admission",
    "confinement",
    "folder",
    "handover",
    "identity",
    "judge",
    "keyfile",
    "limits",
    "opening",
    "poller",
    "process",
    "receipts",
    "rejections",
    "replay",
    "signing",
    "state",
    "tokens",
    "trust",
]
