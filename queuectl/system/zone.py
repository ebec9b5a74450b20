"""Ask the system for the name of its time zone. The only module that imports tzlocal.

Imported only where schedules are: tzlocal takes some milliseconds, and most spools need no time zone.
"""

from __future__ import annotations

import warnings

UTC = "UTC"


def local_name() -> str:
    """Return the name of the machine's time zone, such as `Europe/Berlin`; `UTC` if the system does not say."""
    import tzlocal

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tzlocal.get_localzone_name() or UTC
    except (OSError, ValueError, LookupError):
        return UTC
