"""What the tests of several packages use: the library, and a worker, on the test's spool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.helpers import Desk


@pytest.fixture
def api(spool: SpoolDir) -> Spool:
    """The library on the test's spool."""
    return Spool(spool.root)


@pytest.fixture
def hands(spool: SpoolDir) -> Iterator[Desk]:
    """A worker on the same spool, by the machine's clock as the library is."""
    made = Desk(spool, clock=Clock())
    yield made
    made.close()
