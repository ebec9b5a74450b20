"""Producers of files and the command that checks them, for the tests of inboxes of files.

    python -S file_sender.py send FOLDER NAME WAY      write one file in one of the ways of WAYS
    python -S file_sender.py check FILE NAME WITNESS   append a line `ok NAME` or `half NAME` to WITNESS; fail if half

A whole file ends with the SHA-256 of all that is before.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

WAYS = ("rename", "other folder", "plain", "slow", "held open", "in place", "marker", "rsync")
_PIECES = 20


def content(name: str) -> bytes:
    """The bytes of a whole file, some ten KB, the same for a name each time."""
    body = hashlib.sha256(name.encode()).digest() * 300
    return body + hashlib.sha256(body).hexdigest().encode()


def is_whole(data: bytes) -> bool:
    """Whether a file ends with the digest of what is before."""
    return len(data) > 64 and hashlib.sha256(data[:-64]).hexdigest().encode() == data[-64:]


def send(folder: str, name: str, way: str) -> None:
    """Write one file as a program of that kind does."""
    path, data = os.path.join(folder, name), content(name)
    if way == "rename":
        _write(f"{path}.part", data, 0.0)
        os.rename(f"{path}.part", path)
    elif way == "other folder":
        beside = os.path.join(os.path.dirname(folder), f"beside-{name}")
        _write(beside, data, 0.0)
        os.rename(beside, path)
    elif way == "plain":
        _write(path, data, 0.0)
    elif way == "slow":
        for piece in _pieces(data):  # closed in between, as `cat >>` in a loop does
            with open(path, "ab") as file:
                file.write(piece)
            time.sleep(0.05)
    elif way == "held open":
        _write(path, data, 0.05)
    elif way == "in place":  # as Explorer: the full length first, then the bytes; and as rsync: an old time at the end
        with open(path, "wb") as file:
            file.truncate(len(data))
            for piece in _pieces(data):
                file.write(piece)
                file.flush()
                time.sleep(0.02)
        os.utime(path, (1.0, 1.0))
    elif way == "marker":
        _write(path, data, 0.02)
        _write(f"{path}.ok", b"", 0.0)
    else:
        source = os.path.join(os.path.dirname(folder), f"source-{name}")
        _write(source, data, 0.0)
        subprocess.run(["rsync", "--inplace", "-t", source, path], check=False, stderr=subprocess.DEVNULL)
        os.unlink(source)


def _pieces(data: bytes) -> list[bytes]:
    size = len(data) // _PIECES + 1
    return [data[at : at + size] for at in range(0, len(data), size)]


def _write(path: str, data: bytes, pause_s: float) -> None:
    with open(path, "wb") as file:
        for piece in _pieces(data) if pause_s else [data]:
            file.write(piece)
            file.flush()
            time.sleep(pause_s)


def check(path: str, name: str, witness: str) -> int:
    """Note whether a file is whole; `name` may be a path."""
    name = os.path.basename(name)
    with open(path, "rb") as file:
        good = is_whole(file.read())
    fd = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{'ok' if good else 'half'} {name}\n".encode())
    os.close(fd)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(*sys.argv[2:])
    else:
        sys.exit(check(*sys.argv[2:]))
