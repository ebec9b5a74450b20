"""Real pools work on a disk, as those of users do, wherever the folders of the other tests are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder on a disk; it stays where the test has failed."""
    failed = request.session.testsfailed
    made = Path(tempfile.mkdtemp(prefix="queuectl-e2e-")).resolve()
    yield made
    if request.session.testsfailed == failed:
        shutil.rmtree(made, ignore_errors=True)
