"""A client that writes to an NFSv4 export through libnfs, in a process that can be killed.

usage: nfs_writer.py PORT BODY_FILE NAME [--as NAME] [--rate BYTES] [--stop-at BYTES] [--hold] [--strange] [--over]
                     [--count N]

Tells and waits as smb_writer.py does. With --over it is a file that is there already. With --strange the file has
a time of 2105 while it is written, as one has that a client of NFS creates exclusively: the proof that it did so is
kept in the times until they are set.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

CHUNK = 2048  # libnfs 4.0 cannot encode a write of 4,000 bytes and more
YEAR_2105_AT = 4_260_000_000


class Moment(ctypes.Structure):
    """struct timeval."""

    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


def tell(word: str) -> None:
    """Say how far we are."""
    print(word, time.monotonic_ns(), flush=True)


class Export:
    """The mounted export: each call of libnfs by its name, an error as an OSError."""

    def __init__(self, port: int) -> None:
        self._lib = ctypes.CDLL("libnfs.so.13")
        self._lib.nfs_init_context.restype = ctypes.c_void_p
        self._lib.nfs_get_error.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._lib.nfs_init_context())
        url = f"nfs://127.0.0.1/jobs/?nfsport={port}&version=4&auto-traverse-mounts=0"
        self._lib.nfs_parse_url_dir.restype = ctypes.c_void_p
        self._lib.nfs_parse_url_dir(self._context, url.encode())
        self._lib.nfs4_set_client_name(self._context, f"writer-{os.getpid()}-{id(self)}".encode())
        self._lib.nfs4_set_verifier(self._context, os.urandom(8))
        self.call("mount", b"127.0.0.1", b"/jobs")

    def call(self, name: str, *args: Any) -> int:
        """nfs_NAME with these arguments."""
        code: int = getattr(self._lib, f"nfs_{name}")(self._context, *args)
        if code < 0:
            raise OSError(-code, f"nfs_{name}: {self._lib.nfs_get_error(self._context).decode()}")
        return code


def put(export: Export, args: argparse.Namespace, name: str, data: bytes) -> None:
    """Store one file."""
    at_first = f"/{args.temporary or name}".encode()
    handle = ctypes.c_void_p()
    if args.over:
        Export(args.port).call("truncate", at_first, ctypes.c_uint64(0))
        export.call("open", at_first, os.O_RDWR, ctypes.byref(handle))
    else:
        export.call("create", at_first, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, ctypes.byref(handle))
    tell("open")
    # libnfs 4.0 mixes up its state where one client sets a file's length or times and has it open.
    other = Export(args.port) if args.strange else export
    clock = threading.Event()  # never set
    stop_at = args.stop_at
    for start in range(0, len(data), CHUNK):
        if stop_at and start >= stop_at:
            tell("stopped")
            sys.stdin.read()
            stop_at = 0
        piece = data[start : start + CHUNK]
        export.call("pwrite", handle, ctypes.c_uint64(start), ctypes.c_uint64(len(piece)), piece)
        if args.strange:
            other.call("utimes", at_first, (Moment * 2)(Moment(YEAR_2105_AT, 0), Moment(YEAR_2105_AT, 0)))
        if args.rate:
            clock.wait(CHUNK / args.rate)
    tell("last")
    if args.hold:
        tell("written")
        sys.stdin.read()
    export.call("close", handle)
    if args.temporary:
        export.call("rename", at_first, f"/{name}".encode())
    tell("done")


def main() -> None:
    """Put one file, or a number of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("body", type=Path)
    parser.add_argument("name")
    parser.add_argument("--as", dest="temporary", default="")
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--stop-at", type=int, default=0)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--strange", action="store_true")
    parser.add_argument("--over", action="store_true")
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()
    export = Export(args.port)
    data = args.body.read_bytes()
    for name in [f"{args.name}-{number}.json" for number in range(args.count)] or [args.name]:
        put(export, args, name, data)


if __name__ == "__main__":
    main()
