"""Starts commands by the C library's posix_spawnp on Linux, with all that commands have in common prepared once.

`os.posix_spawnp` converts the signals, the file actions and some forty variables anew for each command: 85,000 of the
300,000 instructions that a worker took to start one. Here the signals are set once, the file actions once for each set
of handles, and the variables once for each environment; for a command only its words and its own variables are
converted.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from queuectl.system import libc

# Both structures of glibc and musl are smaller (at most 336 bytes), and so are their sets of signals (128).
_STRUCT_BYTES, _SIGNALS_BYTES = 1024, 256
# spawn.h of both.
_SETPGROUP, _SETSIGDEF, _SETSIGMASK = 2, 4, 8
# So many sets of handles are remembered: a slot has one, and a new one after a command was left behind.
_ACTIONS_KEPT = 1024

# As a number: to look for a byte, given as bytes, Python makes an exception first.
_NUL = 0

Handles = tuple[tuple[int, int], ...]


def is_possible() -> bool:
    """Return whether the C library has what is needed."""
    return libc.handle is not None and hasattr(libc.handle, "posix_spawnp")


class Spawner:
    """Starts commands in process groups of their own. `reset` are the signals that get their default back."""

    def __init__(self, reset: Iterable[int]) -> None:
        library = libc.handle
        self._library = library
        self._spawn = library.posix_spawnp
        self._spawn.argtypes = (ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 4)
        self._spawn.restype = ctypes.c_int
        signals, none = _signals(library, reset), _signals(library, ())
        attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
        _check(library.posix_spawnattr_init(attributes))
        _check(library.posix_spawnattr_setsigdefault(attributes, signals))
        _check(library.posix_spawnattr_setsigmask(attributes, none))
        _check(library.posix_spawnattr_setpgroup(attributes, 0))
        _check(library.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETPGROUP | _SETSIGDEF | _SETSIGMASK)))
        self._attributes, self._attributes_at = attributes, ctypes.addressof(attributes)
        self._pid = ctypes.c_int()
        self._pid_at = ctypes.addressof(self._pid)
        self._actions: dict[Handles, Any] = {}
        self._shared: Mapping[str, str] = {}
        self._own_names: tuple[str, ...] = ()
        self._block: Any = None
        self._block_at = 0
        self._shared_count = 0

    def start(
        self,
        program: bytes,
        words: Sequence[bytes],
        *,
        shared: Mapping[str, str],
        own: Mapping[str, str],
        handles: Handles,
    ) -> int:
        """Start a command and return its pid.

        Args:
            program: the program; without a slash it is looked for in the PATH of this process.
            words: the words that it gets; the first one is its name.
            shared: variables that many commands share. The same mapping must not change between two calls.
            own: variables of this command; they win over the shared ones.
            handles: pairs of a handle of this process and the number that it has in the command.

        Raises:
            OSError: the system cannot start it.
            ValueError: a word or a variable holds what no system takes there.
        """
        if not words or not program or _NUL in program:
            raise ValueError("a word is missing or contains a NUL")
        for word in words:
            if _NUL in word:
                raise ValueError("a word contains a NUL")
        names = tuple(own)
        if shared is not self._shared or names != self._own_names:
            self._share(shared, names)
        at = self._shared_count
        block = self._block
        for name, text in own.items():
            block[at] = _variable(name, text)
            at += 1
        actions = self._actions.get(handles)
        if actions is None:
            actions = self._new_actions(handles)
        argv = (ctypes.c_char_p * (len(words) + 1))(*words)
        code = self._spawn(self._pid_at, program, actions, self._attributes_at, ctypes.addressof(argv), self._block_at)
        if code:
            raise OSError(code, os.strerror(code), os.fsdecode(program))
        return self._pid.value

    def _share(self, shared: Mapping[str, str], own_names: tuple[str, ...]) -> None:
        """Convert the variables that commands share, with places behind them for those that each has of its own."""
        texts = [_variable(name, text) for name, text in shared.items() if name not in own_names]
        # An array ends with a null pointer, which its last element is.
        block = (ctypes.c_char_p * (len(texts) + len(own_names) + 1))(*texts)
        self._shared, self._own_names, self._shared_count = shared, own_names, len(texts)
        self._block, self._block_at = block, ctypes.addressof(block)

    def _new_actions(self, handles: Handles) -> Any:
        """Return what a command does with its handles before it begins."""
        if len(self._actions) >= _ACTIONS_KEPT:
            for each in self._actions.values():
                self._library.posix_spawn_file_actions_destroy(each)
            self._actions.clear()
        made = ctypes.create_string_buffer(_STRUCT_BYTES)
        _check(self._library.posix_spawn_file_actions_init(made))
        for fd, to in handles:
            _check(self._library.posix_spawn_file_actions_adddup2(made, fd, to))
        self._actions[handles] = made
        return made


def _variable(name: str, text: str) -> bytes:
    """Return a variable as the system takes it. Raises ValueError."""
    made = f"{name}={text}".encode("utf-8", "surrogateescape")
    if not name or "=" in name or _NUL in made:
        raise ValueError(f"illegal environment variable {name!r}")
    return made


def _signals(library: Any, numbers: Iterable[int]) -> Any:
    made = ctypes.create_string_buffer(_SIGNALS_BYTES)
    library.sigemptyset(made)
    for number in numbers:
        library.sigaddset(made, int(number))
    return made


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
