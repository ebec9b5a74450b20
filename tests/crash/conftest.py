"""A folder in memory for the sweeps: hundreds of spools are copied and deleted, and a kill cannot tell the difference."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = "/dev/shm"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is such a place."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="queuectl-crash-", dir=_MEMORY))
    yield made
    inboxes = Path(tempfile.gettempdir()).glob(f"queuectl-inbox-{made.name}-*")  # see `driver.inbox_of`
    for each in (made, *inboxes):
        shutil.rmtree(each, ignore_errors=True)
