"""queuectl: a job queue that needs nothing but a folder.

from queuectl import Spool

spool = Spool("spool")
job_id = spool.enqueue("echo Hello World")
[ending] = spool.wait(job_id)
print(ending.succeeded)

`help(queuectl.api)` explains how to write instants, paths and durations. docs/python.md has an example of each name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.api import Spool
    from queuectl.errors import (
        AmbiguousIdError,
        DamagedRecordError,
        DuplicateJobError,
        InvalidJobError,
        InvalidSettingsError,
        NotASpoolError,
        QueuectlError,
        SpoolUnavailableError,
        UnknownFileError,
        UnknownJobError,
        UnknownParentError,
        UnknownScheduleError,
        UntrustedSpoolError,
        WaitTimeoutError,
    )
    from queuectl.jobs.arguments import JobId
    from queuectl.monitor.results import Ending
    from queuectl.monitor.schedules import ScheduleInfo
    from queuectl.spool.lookup import Counts, Job

__version__ = "0.1.0"
__all__ = [
    "AmbiguousIdError",
    "Counts",
    "DamagedRecordError",
    "DuplicateJobError",
    "Ending",
    "InvalidJobError",
    "InvalidSettingsError",
    "Job",
    "JobId",
    "NotASpoolError",
    "QueuectlError",
    "ScheduleInfo",
    "Spool",
    "SpoolUnavailableError",
    "UnknownFileError",
    "UnknownJobError",
    "UnknownParentError",
    "UnknownScheduleError",
    "UntrustedSpoolError",
    "WaitTimeoutError",
    "__version__",
]

_HOMES = {
    "Spool": "api",
    "Job": "spool.lookup",
    "JobId": "jobs.arguments",
    "Counts": "spool.lookup",
    "Ending": "monitor.results",
    "ScheduleInfo": "monitor.schedules",
}


def __getattr__(name: str) -> object:
    """Import a name of the library at its first use, so that workers and commands load only what they use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"queuectl.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """Return the public names. Modules (`queuectl.model.times`) are not part of the library."""
    return list(__all__)
