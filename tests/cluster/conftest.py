"""What the tests on a real cluster share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A folder with keys, where schedulers and nodes are started."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    pytest.importorskip("cryptography", reason="the extra dask is not installed")
    if sys.platform != "linux":
        pytest.skip("nodes run on Linux")
    made = Rig(tmp_path)
    yield made
    made.close()
