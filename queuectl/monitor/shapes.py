"""The shape of a text: what it has in common with the same text of another job. Computes only.

Jobs of one kind differ in numbers, ids and paths. Failures are grouped by the shapes of their errors (`causes`), and
the usual duration of a run is that of the commands of its shape (`usual`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

# Stands for whatever differs.
GAP = "…"
# Of a longer text only so much is compared.
_CHARS = 200
# Addresses; absolute paths; relative paths with a dot or a digit; our ids; ids in hexadecimal; numbers.
# Both patterns are compiled when first needed: `queuectl status` does not.
_DIFFERS = r"""
    \b[a-z][a-z0-9+.-]{0,20}://[^\s'"<>]+
  | (?<![\w.])(?:[A-Za-z]:)?[\\/][^\s'"`,;:()<>\[\]]+
  | (?<![\w.~@+-])(?=[\w.~@+-]*[\\/][^\s'"`,;:()]*[.\d])[\w.~@+-]+(?:[\\/][\w.~@+-]+)+
  | \b\d{8}-\d{6}-\d{6}-\w{4}
  | \b0x[0-9a-f]+\b
  | \b(?=[a-f-]{0,40}\d)[0-9a-f]{4,}(?:-[0-9a-f]{4,})*\b
  | \d+(?:[.,:]\d+)*
    """
# The second word of these is the program.
_INTERPRETER = (
    r"(?:python|pypy|uv|sh|bash|dash|zsh|node|deno|bun|ruby|perl|php|java|pwsh|powershell|cmd|env|nice|sudo)"
    r"[\d.]*(?:\.exe)?"
)


def shape_of(text: str) -> str:
    """Return a text with `GAP` for each number, id and path."""
    return _with_gaps(text[:_CHARS])


def _with_gaps(text: str) -> str:
    return re.sub(_DIFFERS, GAP, text, flags=re.VERBOSE | re.IGNORECASE)


def program_of(command: str) -> str:
    """Return the program of a command on one line, with its interpreter."""
    program, _, rest = command[:_CHARS].partition(" ")
    if re.fullmatch(_INTERPRETER, re.split(r"[\\/]", program)[-1], re.IGNORECASE):
        program = f"{program} {rest.partition(' ')[0]}"
    return program


def command_shape(command: str) -> str:
    """Return the shape of a command on one line. Its program stays as it is."""
    program = program_of(command)
    return program + _with_gaps(command[len(program) : _CHARS])


def usual(durations: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the median duration of each shape, in seconds, from pairs of a shape and a duration."""
    by_shape: defaultdict[str, list[float]] = defaultdict(list)
    for shape, duration_s in durations:
        by_shape[shape].append(duration_s)
    return {shape: sorted(found)[(len(found) - 1) // 2] for shape, found in by_shape.items()}
