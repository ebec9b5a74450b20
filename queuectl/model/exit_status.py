"""The meaning of exit codes, in words. Computes only.

A record may come from another machine, so the signals of this machine do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

_WORDS = {
    126: "not executable",
    127: "command not found",
    9009: "command not found",  # of cmd
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000094: "division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL is missing",
    0xC000013A: "ended by Ctrl-C",
    0xC0000142: "could not start",
    0xC0000374: "heap corruption",
    0xC0000409: "aborted",
}
# How the reason begins if a command did not start because its `cwd` is not a folder. The exit code is 126 then.
CANNOT_ENTER = "cannot enter the folder"
# Signals with the same number on every system.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
}
_SIGNALS_END = 65
# Larger codes are statuses of Windows, shown in hexadecimal.
_LARGEST = 0xFFFF


def words(code: int) -> str:
    """Return the meaning of an exit code, or ""."""
    if code < 0:
        code &= 0xFFFFFFFF
    if code in _WORDS:
        return _WORDS[code]
    number = code - 128
    if not 0 < number < _SIGNALS_END:
        return ""
    return "killed (SIGKILL)" if number == 9 else _signal_note(code)


def text(code: int) -> str:
    """Return an exit code for a person: statuses of Windows in hexadecimal."""
    return f"0x{code & 0xFFFFFFFF:08X}" if code > _LARGEST or code < 0 else str(code)


def with_reason(code: int | None, reason: str = "") -> str:
    """Return exit code and reason as the end of a sentence: `exit 137 (killed (SIGKILL)), retries used up`, or ""."""
    if code is None or code == 0:
        return reason
    meaning = words(code)
    # The reason on record begins with the worker's note on the code, if there is one.
    is_noted = not meaning or reason.startswith((meaning, _signal_note(code), CANNOT_ENTER))
    return f"exit {text(code)}" + ("" if is_noted else f" ({meaning})") + (f", {reason}" if reason else "")


def _signal_note(code: int) -> str:
    """Return a worker's note on a command that a signal ended (`executors.posix`)."""
    return f"ended by {_SIGNALS.get(code - 128, f'signal {code - 128}')}"


def others(killed: Sequence[int], left: Sequence[int]) -> str:
    """Return a text about the processes that the command did not wait for, with their pids, or ""."""
    parts = []
    for pids, what in ((killed, "was ended with the attempt"), (left, "was left running")):
        if pids:
            verb = what if len(pids) == 1 else what.replace("was", "were")
            parts.append(f"process{'es' * (len(pids) > 1)} {', '.join(map(str, pids))} {verb}")
    return "; ".join(parts)
