"""A client that writes to an SMB share as Windows programs do, in a process that can be killed.

usage: smb_writer.py PORT USER PASSWORD BODY_FILE NAME [--how HOW] [--as NAME] [--rate BYTES]
                     [--stop-at BYTES] [--rest S] [--hold] [--alone] [--count N]

HOW is plain, explorer, rename (from NAME.part), overwrite (half of it, closed, then all of it) or abort (half of it).

Tells on standard output, each with the monotonic nanoseconds: `open`, `stopped`, `last` (byte), `untimed` (the file's
time could not be set), `written`, `done`. Where it is to hold or to stop, it goes on when its standard input ends.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Any

import smbclient
from smbclient._io import SMBFileTransaction, set_info
from smbprotocol.exceptions import SMBOSError
from smbprotocol.file_info import FileBasicInformation

CHUNK = 4096


def tell(word: str) -> None:
    """Say how far we are."""
    print(word, time.monotonic_ns(), flush=True)


def write(file: Any, data: bytes, rate: float, stop_at: int) -> None:
    """Write in pieces, at most `rate` bytes a second where that is not 0; wait for good at `stop_at`."""
    clock = threading.Event()  # never set
    for start in range(0, len(data), CHUNK):
        if stop_at and start >= stop_at:
            tell("stopped")
            sys.stdin.read()
            stop_at = 0
        file.write(data[start : start + CHUNK])
        if rate:
            clock.wait(CHUNK / rate)


def set_time(file: Any) -> None:
    """Give an open file the time of its source."""
    with SMBFileTransaction(file) as transaction:
        times = FileBasicInformation()
        times["last_write_time"] = 132_000_000_000_000_000  # an April of 2019
        set_info(transaction, times)


def put(args: argparse.Namespace, name: str, data: bytes) -> None:
    """Store one file."""
    share = r"\\127.0.0.1\jobs" + "\\"
    login = {"port": args.port, "username": args.user, "password": args.password}
    at_first = f"{name}.part" if args.how == "rename" else args.temporary or name
    if args.how in ("overwrite", "abort"):
        with smbclient.open_file(share + name, mode="wb", buffering=0, share_access="rwd", **login) as half:
            half.write(data[: len(data) // 2])
        if args.how == "abort":
            return
    file = smbclient.open_file(
        share + at_first, mode="wb", buffering=0, share_access="" if args.alone else "rwd", **login
    )
    with file:
        tell("open")
        if args.how == "explorer":  # the whole length first, then the bytes, then the source's time by the same handle
            file.truncate(len(data))
            file.seek(0)
        write(file, data, args.rate, args.stop_at)
        tell("last")
        threading.Event().wait(args.rest)  # what a client far away takes for the next step
        if args.how == "explorer":
            try:
                set_time(file)
            except SMBOSError:  # Samba looks for the file by its name, and the name is gone with the job
                tell("untimed")
        tell("written")
        if args.hold:
            sys.stdin.read()
    if at_first != name:
        smbclient.rename(share + at_first, share + name, **login)
    tell("done")


def main() -> None:
    """Put one file, or a number of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("body", type=Path)
    parser.add_argument("name")
    parser.add_argument("--how", default="plain")
    parser.add_argument("--as", dest="temporary", default="")
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--stop-at", type=int, default=0)
    parser.add_argument("--rest", type=float, default=0)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()
    data = args.body.read_bytes()
    for name in [f"{args.name}-{number}.json" for number in range(args.count)] or [args.name]:
        put(args, name, data)


if __name__ == "__main__":
    main()
