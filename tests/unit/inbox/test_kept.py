"""kept: which versions of files have been worked on, over restarts, torn lines and other folders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.inbox.kept import FAR, Kept, versions
from queuectl.spool.folder import SpoolDir
from queuectl.system.files import FileSig
from tests.helpers import Desk

HERE, THERE = 11, 12


def kept(spool: SpoolDir, folder: int = HERE) -> Kept:
    """As a new process has it."""
    made = Kept(Desk(spool).session, "anna")
    made.use(folder)
    return made


def path_of(spool: SpoolDir) -> Path:
    """Where the notes are."""
    return Path(spool.inbox_path("anna", "kept"))


def test_a_version_is_known_after_a_restart_and_others_are_not(spool: SpoolDir) -> None:
    """P1: inode, size and time of change, each; on a share, where inodes may change, the latter two."""
    sig = FileSig(1, 2, 3)
    notes = kept(spool)
    for name in ("a.pdf", "b\nc.pdf", "Straße.pdf"):
        notes.keep(name, sig)
    for again in (notes, kept(spool)):
        assert again.holds("a.pdf", sig) and again.holds("b\nc.pdf", sig) and again.holds("Straße.pdf", sig)
        assert not again.holds("x.pdf", sig) and not again.had("x.pdf")
        for other in (FileSig(9, 2, 3), FileSig(1, 9, 3), FileSig(1, 2, 9)):
            assert not again.holds("a.pdf", other) and again.had("a.pdf")
    assert kept(spool, FAR).holds("a.pdf", FileSig(9, 2, 3))
    if sys.platform != "win32":
        assert path_of(spool).stat().st_mode & 0o777 == 0o600


def test_what_is_gone_is_forgotten_also_by_the_next_process(spool: SpoolDir) -> None:
    """A file that somebody takes out of the inbox and puts back is a new one."""
    notes = kept(spool)
    for name in ("a.pdf", "b.pdf"):
        notes.keep(name, FileSig(1, 2, 3))
    notes.forget_all_but({"b.pdf", "c.pdf"})
    for again in (notes, kept(spool)):
        assert not again.had("a.pdf") and again.had("b.pdf")


def test_nothing_is_forgotten_while_the_path_leads_to_another_folder(spool: SpoolDir) -> None:
    """A share that is not mounted is an empty folder: until something is kept there, all notes are kept."""
    kept(spool).keep("a.pdf", FileSig(1, 2, 3))
    other = kept(spool, THERE)
    other.forget_all_but(set())
    again = kept(spool)
    again.forget_all_but({"a.pdf"})
    assert again.holds("a.pdf", FileSig(1, 2, 3))
    other.keep("b.pdf", FileSig(1, 2, 3))
    assert set(versions(spool, "anna")[1]) == {"b.pdf"}


@pytest.mark.parametrize("torn", range(1, 24))
def test_a_torn_line_says_nothing_and_spoils_no_other(spool: SpoolDir, torn: int) -> None:
    """A power cut or a full disk can leave a part of a line, of a note or of what is forgotten."""
    notes = kept(spool)
    notes.keep("a.pdf", FileSig(1, 2, 3))
    notes.keep("b.pdf", FileSig(1, 2, 3))
    path_of(spool).write_bytes(path_of(spool).read_bytes()[:-torn])
    again = kept(spool)
    assert again.holds("a.pdf", FileSig(1, 2, 3)) and not again.had("b.pdf")
    again.keep("c.pdf", FileSig(1, 2, 3))
    assert set(versions(spool, "anna")[1]) == {"a.pdf", "c.pdf"}


def test_the_file_does_not_grow_with_the_time(spool: SpoolDir) -> None:
    """Its size depends on the files that are there, not on how many there were."""
    notes = kept(spool)
    for number in range(2000):
        notes.keep(f"{number}.pdf", FileSig(1, 2, 3))
        notes.forget_all_but({f"{number}.pdf", "0.pdf"})
    assert len(path_of(spool).read_bytes().splitlines()) < 300
    assert set(versions(spool, "anna")[1]) == {"0.pdf", "1999.pdf"}


def test_notes_that_cannot_be_read_are_an_error(spool: SpoolDir) -> None:
    """Otherwise every file would be worked on again."""
    path_of(spool).parent.mkdir()
    path_of(spool).mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        kept(spool)
