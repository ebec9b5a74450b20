"""An inbox of files on Windows, with real processes: writers that hold a file open, renames, names Windows refuses."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

import ctypes

from queuectl.inbox.state import read_all
from queuectl.spool.folder import SpoolDir
from tests.helpers import files_below, wait_until
from tests.pool import Pool, ends_with, queuectl

COPY = [
    *(sys.executable, "-S", "-c"),
    "import sys; data = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(data); sys.exit(b'bad' in data)",
    *("{file}", "{folder}\\{stem}.copy"),
]
GENERIC_WRITE, CREATE_NEW, NORMAL = 0x40000000, 1, 0x80
SHARE_NOTHING, SHARE_READ = 0, 1


class Writer:
    """A program that creates a file and keeps it open, as Explorer and most exporters do."""

    def __init__(self, path: Path, share: int) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateFileW.restype = ctypes.c_void_p
        self._close = kernel.CloseHandle
        self._write = kernel.WriteFile
        handle = kernel.CreateFileW(str(path), GENERIC_WRITE, share, None, CREATE_NEW, NORMAL, None)
        assert handle not in (None, ctypes.c_void_p(-1).value), ctypes.get_last_error()
        self._handle = ctypes.c_void_p(handle)

    def write(self, data: bytes) -> None:
        """Write more bytes."""
        done = ctypes.c_ulong()
        assert self._write(self._handle, data, len(data), ctypes.byref(done), None) and done.value == len(data)

    def close(self) -> None:
        """Close the file."""
        self._close(self._handle)


def configure(spool: SpoolDir, inbox: Path, **keys: object) -> None:
    """Name the inbox in the settings."""
    facts = {"path": str(inbox), "mode": "files", "command": COPY, "max_retries": 0, **keys}
    text = "settle_s = 0.3\nscan_s = 0.2\n[[inbox]]\n"
    Path(spool.settings_path).write_text(text + "".join(f"{key} = {json.dumps(facts[key])}\n" for key in facts))


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder))


def test_files_that_are_open_wait_and_all_others_run(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P2: an open file is not taken until it is closed; a rename, a copy and a retry by hand run meanwhile."""
    inbox = tmp_path / "scans"
    inbox.mkdir()
    configure(spool, inbox, match=["*.pdf"])
    alone, shared = (Writer(inbox / name, share) for name, share in (("a.pdf", SHARE_NOTHING), ("b.pdf", SHARE_READ)))
    try:
        with Pool(spool) as pool:
            pool.ready()
            for writer in (alone, shared):
                writer.write(b"begin ")
            (inbox / "c.pdf.part").write_bytes(b"bad")
            os.rename(inbox / "c.pdf.part", inbox / "c.pdf")
            (inbox / "d e.pdf").write_bytes(b"good")
            ends_with(spool, {"done": 1, "dlq": 1})
            wait_until(lambda: tree(inbox / "failed") == ["c.copy", "c.pdf", "c.pdf.failed.txt"])
            # Long enough quiet; only their writers keep them.
            wait_until(lambda: {item.name: item.why for item in read_all(spool)[0].rows}.keys() >= {"a.pdf", "b.pdf"})
            wait_until(lambda: all("open for writing" in item.why for item in read_all(spool)[0].rows))
            assert "open for writing" in queuectl(spool, "why", "a.pdf")
            for writer in (alone, shared):
                writer.write(b"end")
                writer.close()
            (inbox / "failed" / "c.pdf").write_bytes(b"good now")
            os.rename(inbox / "failed" / "c.pdf", inbox / "c.pdf")
            ends_with(spool, {"done": 4, "dlq": 1})
            kept = ("a", "b", "c", "d e")
            wait_until(
                lambda: tree(inbox / "done") == sorted(f"{stem}{end}" for stem in kept for end in (".copy", ".pdf"))
            )
    finally:
        for writer in (alone, shared):
            writer.close()
    for stem in ("a", "b"):
        assert (inbox / "done" / f"{stem}.copy").read_bytes() == b"begin end"
    assert tree(inbox / "working") == []


def test_names_that_windows_reads_otherwise_are_left_alone(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: a device, a name with a dot or a blank at its end; `inbox test` says why, and nothing is opened."""
    inbox = tmp_path / "scans"
    inbox.mkdir()
    configure(spool, inbox)
    for name in ("CON.pdf", "nul", "COM1.txt", "lpt9.a.b"):
        told = queuectl(spool, "inbox", "test", str(inbox / name), check=False)
        assert "left alone" in told and "something else to Windows" in told, name
    # Names that are harmless arrive as they are, quotes of the command line or not.
    names = ("a b.pdf", "%PATH%.pdf", "a&b^c.pdf", "{stem}.pdf", "=x;,.pdf", "\u00fc\u202egpj.pdf", "x" * 120 + ".pdf")
    for name in names:
        (inbox / name).write_bytes(b"good")
    with Pool(spool, "--drain") as pool:
        assert pool.wait(120) == 0
    assert {name for name in tree(inbox) if name.endswith(".pdf")} == {f"done/{name}" for name in names}
    assert len(tree(inbox)) == 2 * len(names)
