"""open_board: the board of a queue is read again only where it has changed, and always from the file at its path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.flows.open_board import OpenBoard
from queuectl.system import files

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no board open")


def _board(path: Path, *entries: Entry) -> OpenBoard:
    path.write_bytes(boards.text_of(list(entries)))
    return OpenBoard(str(path))


def _write(path: Path, index: int, line: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(boards.LINE_BYTES * (index + 1))
        file.write(line)


def test_look_finds_what_others_wrote(tmp_path: Path) -> None:
    """A line that another process writes, changes or blanks is seen at the next look (P12)."""
    path = tmp_path / "mail"
    board = _board(path, *[Entry(f"w{number}.0", "k", f"job{number}") for number in range(40)])
    assert board.look()
    assert board.leases == [b"w%d.0" % number for number in range(40)]
    _write(path, 20, boards.line_of("other.1", "", "b"))
    _write(path, 39, boards.BLANK)
    _write(path, 40, boards.line_of("last.1", "k2", "c"))
    assert board.look()
    assert (board.leases[20], board.keys[20]) == (b"other.1", b"-")
    assert (board.leases[39], board.keys[39]) == (b"", b"")
    assert (board.leases[40], board.keys[40]) == (b"last.1", b"k2")
    assert len(board.leases) == 41
    board.close()


@pytest.mark.parametrize("damage", [b"", b"x" * 256, b"short", boards.HEAD + b" a b c".ljust(255) + b"\n"])
def test_what_is_not_a_board_is_lost(tmp_path: Path, damage: bytes) -> None:
    """A board that is empty, torn or foreign is no board, and a board at its next look if it is made again (P12)."""
    path = tmp_path / "mail"
    board = _board(path, Entry("w1.0", "", "a"))
    assert board.look()
    path.write_bytes(damage)
    assert not board.look()
    path.write_bytes(boards.text_of([Entry("w1.0", "", "a")]))
    assert board.look()
    assert board.leases == [b"w1.0"]
    board.close()


def test_missing_board_is_lost_and_not_made(tmp_path: Path) -> None:
    """A look makes no file."""
    assert not OpenBoard(str(tmp_path / "mail")).look()
    assert os.listdir(tmp_path) == []


def test_a_line_that_another_has_is_not_blanked(tmp_path: Path) -> None:
    """Who leaves blanks its own line only (P12)."""
    path = tmp_path / "mail"
    board = _board(path, Entry("w1.0", "", "a"))
    assert not board.blank(0, boards.line_of("w2.0", "", "b"))
    assert not board.blank(1, boards.line_of("w1.0", "", "a"))
    assert board.blank(0, boards.line_of("w1.0", "", "a"))
    assert board.look()
    assert board.leases == [b""]
    board.close()


def test_another_file_at_the_path_is_the_board(tmp_path: Path) -> None:
    """A board that was put in place of the open one is read and written; the old file never again (P12)."""
    path = tmp_path / "mail"
    board = _board(path, Entry("w1.0", "", "a"))
    assert board.look()
    board.rest()
    (tmp_path / "new").write_bytes(boards.text_of([Entry("w2.0", "", "b"), Entry("w1.0", "", "a", is_found=True)]))
    os.replace(tmp_path / "new", path)
    assert not board.blank(0, boards.line_of("w1.0", "", "a"))
    assert board.look()
    assert board.leases == [b"w2.0", b"w1.0"]
    board.write(0, boards.BLANK)
    assert boards.parse(path.read_bytes()) == [None, Entry("w1.0", "", "a", is_found=True)]
    board.close()


@posix_only
def test_board_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and blanks of one board share a handle: 9 system calls pass a gate, with its lock."""
    path = tmp_path / "mail"
    board = _board(path, Entry("w1.0", "", "a"))
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(files.os, "open", lambda name, *rest, **options: (opened.append(name), real(name, *rest))[1])
    for _ in range(3):
        assert board.look()
        board.blank(0, boards.line_of("w1.0", "", "a"))
    assert len(opened) == 1
    board.close()
