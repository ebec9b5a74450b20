"""Make the two pictures of the dashboard that the README shows: `python docs/screenshots.py`.

The queue in them is made up, so the pictures show no path and no job of the machine that makes them. Needs the group
`browser` (Playwright) and a Chromium; QUEUECTL_BROWSER names another program.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from queuectl.monitor import page
from queuectl.monitor.rows import (
    Bucket,
    CauseRow,
    DueRow,
    FailureRow,
    Finish,
    GroupRow,
    Load,
    NextRow,
    PoolRow,
    RunRow,
)
from queuectl.monitor.snapshot import Snapshot

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1120, 780
MINUTE_S, HOUR_S = 60.0, 3600.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def sample(now_at: float) -> Snapshot:
    """Return a busy queue of a photo studio, with a few failures."""
    failed = {
        "upload-0231": ("python upload.py wedding-0231.jpg", 4 * MINUTE_S, 4),
        "upload-0187": ("python upload.py wedding-0187.jpg", 21 * MINUTE_S, 4),
        "upload-0102": ("python upload.py wedding-0102.jpg", 26 * MINUTE_S, 4),
        "archive-monday": ("tar czf archive/monday.tar.gz photos/monday", 5 * HOUR_S, 1),
    }
    output = {
        "upload-0231": ("connecting to media.example.com ...", "error: connection timed out after 30 s"),
        "archive-monday": ("tar: archive/monday.tar.gz: Cannot write: No space left on device",),
    }
    failures = tuple(
        FailureRow(
            job_id,
            now_at - ago_s,
            attempts,
            "exit code 2",
            command,
            output.get(job_id, ()),
            record=f"dlq/{job_id}.json",
            log=f"logs/{job_id}.{attempts}.log",
            text=f"dlq/{job_id}.error.txt",
        )
        for job_id, (command, ago_s, attempts) in failed.items()
    )
    uploads = tuple(failed)[:3]
    first, last = failures[0], failures[3]
    causes = (
        CauseRow(
            "exit code 75: connection timed out",
            3,
            first.ended_at,
            failures[2].ended_at,
            uploads,
            first.command,
            first.output,
        ),
        CauseRow(
            "exit code 2: no space left on device",
            1,
            last.ended_at,
            last.ended_at,
            (last.id,),
            last.command,
            last.output,
        ),
    )
    runs = (
        RunRow(
            "resize-0412",
            1,
            "worker 1",
            now_at - 23,
            300.0,
            "python resize.py wedding-0412.raw --width 2048",
            True,
            31.0,
            "running/resize-0412.json",
        ),
        RunRow(
            "film-trailer",
            2,
            "worker 2",
            now_at - 412,
            1800.0,
            "ffmpeg -i trailer.mov -c:v libx264 trailer.mp4",
            True,
            280.0,
            "running/film-trailer.json",
        ),
    )
    nexts = tuple(
        NextRow(
            f"resize-{number:04d}",
            0,
            9 if number == 413 else 0,
            f"python resize.py wedding-{number:04d}.raw --width 2048",
            ("anna", "ben")[number % 3 == 0],
            ("wedding",),
            now_at - (449 - number) * 5,
            f"pending/resize-{number:04d}.json",
        )
        for number in range(413, 446)
    )
    dues = (
        DueRow("upload-0240", now_at + 14, 2, 3, "exit code 75: connection timed out"),
        DueRow("backup-nightly", now_at + 6.2 * HOUR_S, 0, 3, "", "sh backup.sh /srv/photos"),
    )
    chance = random.Random(7)
    finishes = tuple(
        Finish(
            now_at - number * 19 - 3,
            chance.uniform(22, 44),
            True,
            f"resize-{411 - number:04d}",
            f"python resize.py wedding-{411 - number:04d}.raw --width 2048",
            "",
            1,
            f"done/resize-{411 - number:04d}.json",
            f"logs/resize-{411 - number:04d}.1.log",
        )
        for number in reversed(range(40))
    )
    load = _load(now_at, chance)
    return Snapshot(
        path="/srv/photos",
        taken_at=now_at,
        is_full=True,
        paused=None,
        counts={"pending": 35, "running": 2, "done": 5120, "dlq": 4, "rejected": 0},
        ready=33,
        later=2,
        held=0,
        next_due_at=now_at + 14,
        last_due_at=now_at + 6.2 * HOUR_S,
        oldest_id="resize-0413",
        oldest_since=now_at - 3 * MINUTE_S,
        longest_since=now_at - 412,
        pools=(PoolRow("studio", "atelier", 4711, 2, now_at - 26 * HOUR_S),),
        runs=runs,
        failures=failures,
        dues=dues,
        refusals=(),
        foreign={},
        copies={},
        arriving=(),
        finishes=finishes,
        nexts=nexts,
        causes=causes,
        load=load,
        done_last_hour=sum(each.done for each in load.hour),
        failed_last_hour=sum(each.failed for each in load.hour),
        tags=(GroupRow("wedding", 33, 1, 402, 3), GroupRow("film", 0, 1, 12, 0), GroupRow("nightly", 1, 0, 61, 1)),
        owners=(GroupRow("anna", 22, 1, 2711, 3), GroupRow("ben", 11, 1, 1904, 1)),
    )


def _load(now_at: float, chance: random.Random) -> Load:
    hour, day, waiting = [], [], 0.0
    for number in range(60):
        waiting = max(0.0, waiting + chance.uniform(-2.6, 2.2) + (14 if number in (12, 33, 34, 52) else 0))
        failed = 1 if number in (33, 38, 55) else 0
        hour.append(Bucket(now_at - (60 - number) * MINUTE_S, 2 + chance.randrange(3), failed, round(waiting), 2))
    for number in range(96):
        busy = max(0.05, math.sin((number - 18) / 96 * 2 * math.pi)) * 60 + chance.uniform(0, 9)
        failed = 1 if number in (76, 94, 95) else 0
        day.append(Bucket(now_at - (96 - number) * 15 * MINUTE_S, round(busy), failed, round(busy * 1.7), 2))
    return Load(tuple(hour), tuple(day))


def main() -> None:
    """Write docs/images/page-light.png and page-dark.png."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("QUEUECTL_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "status.html"
        path.write_text(page.render(sample(time.time()), advice=("queuectl dlq list", "")), encoding="utf-8")
        # Chromium has no sandbox for root; what it opens here is a page of ours.
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=not is_root)
        for scheme in ("light", "dark"):
            tab = browser.new_page(color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT})
            tab.goto(path.as_uri())
            tab.screenshot(path=IMAGES / f"page-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main()
