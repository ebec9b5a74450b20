"""exits: exit codes in words."""

from __future__ import annotations

import pytest

from queuectl.model import exit_status


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, ""),
        (1, ""),
        (126, "not executable"),
        (127, "command not found"),
        (128, ""),
        (130, "ended by SIGINT"),
        (137, "killed (SIGKILL)"),
        (143, "ended by SIGTERM"),
        (128 + 40, "ended by signal 40"),
        (255, ""),
        (9009, "command not found"),
        (0xC000013A, "ended by Ctrl-C"),
        (0xC000013A - (1 << 32), "ended by Ctrl-C"),
        (0xC0000005, "access violation"),
    ],
)
def test_codes_have_words(code: int, words: str) -> None:
    """A code that means something is told in words, the same on every system and whatever its sign is."""
    assert exit_status.words(code) == words


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (None, "", ""),
        (None, "timed out", "timed out"),
        (0, "", ""),
        (3, "", "exit 3"),
        (3, "1 run", "exit 3, 1 run"),
        (127, "command not found", "exit 127, command not found"),
        (143, "ended by SIGTERM", "exit 143, ended by SIGTERM"),
        (126, "cannot enter the folder /x", "exit 126, cannot enter the folder /x"),
        (137, "", "exit 137 (killed (SIGKILL))"),
        (0xC000013A, "", "exit 0xC000013A (ended by Ctrl-C)"),
        (-1073741510, "", "exit 0xC000013A (ended by Ctrl-C)"),
    ],
)
def test_code_and_reason_say_it_once(code: int | None, reason: str, told: str) -> None:
    """What the reason says already is not said again in words; large statuses are hexadecimal."""
    assert exit_status.with_reason(code, reason) == told
