"""Networks for a rig: each part of a cluster in a network namespace of its own, so that its cable can be pulled.

Needs root and iproute2; tests that want it are skipped, with the reason, where either is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys

_NUMBERS = itertools.count()


def missing() -> str:
    """Return why there can be no networks here, or ""."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if not shutil.which("ip") or not shutil.which("nsenter"):
        return "network namespaces need ip (iproute2) and nsenter (util-linux)"
    tried = f"q{os.getpid()}try"
    if subprocess.run(["ip", "netns", "add", tried], capture_output=True, check=False).returncode:
        return "this system makes no network namespaces"
    _ip("netns", "del", tried)
    return ""


class Net:
    """A switch on this machine, with the address `host`, and namespaces that hang on it by a cable each."""

    def __init__(self) -> None:
        number = next(_NUMBERS)
        self._prefix = f"q{os.getpid()}x{number}"
        self._subnet = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self._names: list[str] = []
        self.host = f"{self._subnet}.1"
        _ip("link", "add", self._prefix, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", self._prefix)
        _ip("link", "set", self._prefix, "up")

    def within(self, name: str) -> list[str]:
        """Return the words before a command line that run it in the namespace of this name, which is made if needed."""
        if name not in self._names:
            self._add(name)
        return ["nsenter", f"--net=/run/netns/{self._space(name)}"]

    def cut(self, name: str) -> None:
        """Pull the cable."""
        _ip("link", "set", self._cable(name), "down")

    def heal(self, name: str) -> None:
        """Plug the cable in again."""
        _ip("link", "set", self._cable(name), "up")

    def close(self) -> None:
        """Delete everything."""
        with contextlib.suppress(subprocess.CalledProcessError):
            for name in self._names:
                _ip("netns", "del", self._space(name))
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._prefix)

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _cable(self, name: str) -> str:
        return f"{self._prefix}.{self._names.index(name)}"

    def _add(self, name: str) -> None:
        self._names.append(name)
        space, cable = self._space(name), self._cable(name)
        _ip("netns", "add", space)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", self._prefix, "up")
        for words in (
            ["addr", "add", f"{self._subnet}.{len(self._names) + 1}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            _ip("-n", space, *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
