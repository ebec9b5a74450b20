"""rejected: the text beside a rejected file, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.model.lifecycle import REJECTED
from queuectl.spool import rejected
from queuectl.spool.rejected import NEW, Reason
from tests.helpers import NOON_AT, Desk, listing


def test_reason_text_says_why_what_to_do_and_that_nothing_changed() -> None:
    """Whoever finds a rejected file can act on the text beside it (P6)."""
    text = rejected.text_of("x.json", Reason("it is empty", "write it again", "1-0-1"), now_at=NOON_AT)
    for part in ("x.json", "it is empty", "write it again", "pending/", "2027-01-15T08:00:00.000Z"):
        assert part in text


@pytest.mark.parametrize(
    "name", ["a b.json", "$(id).json", "`id`.json", "-x.json", "a;b.json", '"a".json', "%PATH%.json"]
)
def test_no_command_holds_a_name_that_a_shell_reads_otherwise(name: str) -> None:
    """P10: a person may paste the commands of the text; a producer chose the name of the file."""
    text = rejected.text_of(name, Reason("it is empty"), now_at=NOON_AT)
    assert "queuectl rejected retry NAME" in text and "queuectl rejected purge NAME" in text
    assert "queuectl rejected retry x.json" in rejected.text_of("x.json", Reason("it is empty"), now_at=NOON_AT)


@pytest.mark.parametrize("version", [NEW, "1-0-1"])
@pytest.mark.parametrize("why", ["it is empty", "", "Why: not\nRejected never, version 2"])
def test_what_is_written_is_read_again(desk: Desk, version: str, why: str) -> None:
    """The reader finds the reason, the instant and the version, whatever others wrote into the reason."""
    text = rejected.text_of("x.json", Reason(why, "write it again", version), now_at=NOON_AT)
    Path(desk.spool.reason_path("x.json")).write_text(text)
    found = rejected.read(desk.spool, "x.json")
    assert found.rejected_at == NOON_AT
    assert found.why.startswith(why.split("\n")[0])
    assert rejected.read_version(desk.spool, "x.json") == version


def test_a_text_that_says_nothing_is_read_as_such(desk: Desk) -> None:
    """A person may have written the text beside a file."""
    Path(desk.spool.reason_path("x.json")).write_bytes(b"because\xff")
    assert rejected.read(desk.spool, "x.json") == ("", None)
    assert rejected.read_version(desk.spool, "x.json") == ""
    with pytest.raises(FileNotFoundError):
        rejected.read(desk.spool, "y.json")


def test_copy_is_kept_beside_a_reason(desk: Desk) -> None:
    """A text that is kept without its file gets a name and a reason of its own each time (P6, P7)."""
    for _ in range(2):
        rejected.keep_copy(desk.session, "x.json", b"edited", Reason("why"))
    assert len(listing(desk.spool)["rejected"]) == 4
    assert Path(desk.spool.path(REJECTED, "x.json")).read_bytes() == b"edited"
