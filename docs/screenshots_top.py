"""Make the picture of `queuectl top` that the README shows: `python docs/screenshots_top.py`.

The queue in it is the made-up one of `screenshots.py`, so the picture shows no path and no job of the machine that
makes it. The picture loads nothing: the addresses of fonts are left out, and a system's own monospaced font fits.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time

from screenshots import IMAGES, sample

from queuectl.api import Spool
from queuectl.cli.commands.top_app import TopApp
from queuectl.cli.commands.top_widgets import Looked
from queuectl.monitor.snapshot import Snapshot

SIZE = (100, 28)
_FETCHED = re.compile(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", re.DOTALL)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


async def picture(folder: str) -> str:
    """Return `queuectl top` of the sample as an SVG."""
    app = TopApp(Spool.create(folder).folder, every_s=3600)
    app.theme = "textual-dark"  # whatever the terminal that runs this can do
    async with app.run_test(size=SIZE) as pilot:
        while not app.has_looked:
            await pilot.pause(0.01)
        app.post_message(Looked(_with_codes(sample(time.time()))))
        await pilot.press("down")
        await pilot.pause()
        svg = app.export_screenshot(title="queuectl top")
    return _FETCHED.sub("", svg).replace("Fira Code, monospace", _FONTS).replace("Fira Code", _FONTS)


def _with_codes(found: Snapshot) -> Snapshot:
    """Return the sample with the exit codes that its causes name."""
    codes = {job_id: cause.cause.partition(":")[0] for cause in found.causes for job_id in cause.ids}
    return found._replace(failures=tuple(row._replace(error=codes[row.id]) for row in found.failures))


def main() -> None:
    """Write docs/images/top.svg."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        svg = asyncio.run(picture(folder))
    # No editor of SVG needs the blanks at the ends of lines.
    (IMAGES / "top.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
