"""What the tests of a worker's parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuectl.worker.slot import Slot
from tests.helpers import Desk


@pytest.fixture
def slot(desk: Desk) -> Iterator[Slot]:
    """An open slot."""
    made = Slot(desk.session, "w9")
    made.open()
    yield made
    made.close()
