"""queuectl: a job queue that needs nothing but a folder.

from queuectl import Spool

spool = Spool("spool")
job_id = spool.enqueue("echo Hello World")
print(spool.get(job_id).state)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Counts", "Job", "QueuectlError", "Spool", "__version__"]

if TYPE_CHECKING:
    from queuectl.api import Counts, Job, Spool
    from queuectl.errors import QueuectlError

_HOMES = {"Spool": "api", "Job": "api", "Counts": "api", "QueuectlError": "errors"}


def __getattr__(name: str) -> object:
    """Import the library's names when first asked for: worker processes and commands load only what they use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"queuectl.{_HOMES[name]}"), name)
