"""How often the files of the dashboard are written."""

from __future__ import annotations

# The files are written anew at least this often while workers run, whether or not there is anything new ...
HEARTBEAT_S = 30.0
# ... so files that are older than this are not written any longer: three times were missed.
STALE_S = 3 * HEARTBEAT_S
