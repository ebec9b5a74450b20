"""A headless Chromium and axe-core for the tests of status.html."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.system.clock import Clock

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@pytest.fixture
def clock() -> Clock:
    """The real clock: the browser compares the page's time with its own."""
    return Clock()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    carrier = pytest.importorskip("axe_playwright_python", reason="no axe-core: pip install -e . --group browser")
    return (Path(carrier.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install -e . --group browser")
    program = os.environ.get("QUEUECTL_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH, and QUEUECTL_BROWSER names none")
    with api.sync_playwright() as playwright:
        arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        # Chromium has no sandbox for root; what it opens here is a page of ours.
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        made = playwright.chromium.launch(executable_path=program, args=arguments, chromium_sandbox=not is_root)
        yield made
        made.close()
