"""Check a queue from its status.json and tell a monitoring system: exit code 0 OK, 1 warning, 2 critical, 3 unknown.

    python examples/check_queue.py spool/status.json

These are the exit codes of Nagios, Icinga, Zabbix and cron jobs. The program needs only Python and read access to the
file, so it can also run on another machine that sees the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def main() -> int:
    """Print one line with what is wrong; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("status", type=Path, help="status.json in the spool")
    parser.add_argument("--waiting", type=float, default=3600, metavar="SECONDS", help="oldest job that could run now")
    parser.add_argument("--dead", type=int, default=0, metavar="N", help="dead jobs that are tolerated")
    parser.add_argument("--rejected", type=int, default=0, metavar="N", help="rejected files that are tolerated")
    parser.add_argument("--may-rest", action="store_true", help="no workers are no problem while nothing waits")
    arguments = parser.parse_args()
    try:
        status = json.loads(arguments.status.read_text(encoding="utf-8"))
        found = list(problems(status, arguments))
    except (OSError, ValueError, KeyError) as error:
        print(f"UNKNOWN: {arguments.status}: {error}")
        return UNKNOWN
    level = max((level for level, _ in found), default=OK)
    counts = ", ".join(f"{count} {state}" for state, count in status["counts"].items())
    print(f"{WORDS[level]}: {'; '.join(text for _, text in sorted(found, reverse=True)) or counts}")
    return level


def problems(status: dict, arguments: argparse.Namespace) -> list[tuple[int, str]]:
    """Return what is wrong, each with its level."""
    found = []
    counts, waiting = status["counts"], status["waiting"]
    age = age_s(status["written_at"])
    rests = arguments.may_rest and not counts["pending"] and not counts["running"]
    if age > status["stale_after_s"] and not rests:
        found.append((CRITICAL, f"no workers: status.json is {age:.0f} s old"))
    if waiting["oldest"] and age_s(waiting["oldest"]["since"]) > arguments.waiting:
        found.append((CRITICAL, f"job {waiting['oldest']['id']} has waited {age_s(waiting['oldest']['since']):.0f} s"))
    if (dead := counts["dlq"] - status["cancelled_jobs"]) > arguments.dead:
        found.append((WARNING, f"{dead} dead"))
    if counts["rejected"] > arguments.rejected:
        found.append((WARNING, f"{counts['rejected']} rejected"))
    if status["paused"] is not None:
        found.append((WARNING, f"paused: {status['paused']}"))
    if status["retention_waits"]:
        found.append((WARNING, "retention waits: the clock has jumped"))
    found += [(WARNING, f"inbox {row['owner']}: {row['trouble']}") for row in status["inboxes"] if row["trouble"]]
    return found


def age_s(instant: str) -> float:
    """Return how long ago an instant was."""
    return (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
