"""Defines a range of parents: the jobs of one file that a job waits for with `*` (FORMAT.md, "Workflows and groups").

A record holds a range in one line, however many jobs it has: the token of the file, how many documents the file has,
which of them are left out, and the refs of those that have one. Computes only.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

from queuectl.model import names

COUNT_AT_MOST = 2_000_000
"""How many documents a file may have: more do not fit into one (`document.BATCH_MAX_BYTES`)."""
LISTED_AT_MOST = 2_000
"""How many documents a range may name by their refs or leave out."""
PLACE_FORM = "04d"
REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
TOKEN_MAX_CHARS = names.ID_MAX_CHARS - 33
KEYS = frozenset({"batch", "count", "except", "refs", "when"})


def place_id(token: str, place: int) -> str:
    """Return the id of the job of a document without a ref."""
    return f"{token}-{place:{PLACE_FORM}}"


class Members(Sequence[str]):
    """The ids of a range: those with a ref first, then the others in the order of the file."""

    def __init__(self, token: str, count: int, left_out: Sequence[int], refs: Sequence[str]) -> None:
        self.token = token
        """The beginning of the ids."""
        self._count = count
        self._left_out = left_out
        self._refs = refs

    def __len__(self) -> int:
        return len(self._refs) + self._count - len(self._left_out)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(index)
        if at < len(self._refs):
            return f"{self.token}-{self._refs[at]}"
        wanted = place = at - len(self._refs) + 1
        while (found := wanted + bisect.bisect_right(self._left_out, place)) != place:
            place = found
        return place_id(self.token, place)

    def find(self, job_id: str) -> int:
        """Return the index of an id, or -1 if it is not in the range."""
        token, rest = job_id[: len(self.token)], job_id[len(self.token) + 1 :]
        if token != self.token or job_id[len(token) : len(token) + 1] != "-":
            return -1
        if rest.isascii() and rest.isdecimal() and format(int(rest), PLACE_FORM) == rest:
            place = int(rest)
            before = bisect.bisect_left(self._left_out, place)
            is_out = before < len(self._left_out) and self._left_out[before] == place
            if 1 <= place <= self._count and not is_out:
                return len(self._refs) + place - before - 1
        return self._refs.index(rest) if rest in self._refs else -1


def why_bad(token: str, count: int, left_out: Sequence[int], refs: Sequence[str]) -> str:
    """Return the mistake in a range, as the end of a sentence, or ""."""
    if len(token) > TOKEN_MAX_CHARS or names.why_bad_id(place_id(token, 1)):
        return "has a range whose batch is not the token of a file"
    if not 1 <= count <= COUNT_AT_MOST:
        return f"has a range whose count is not from 1 to {COUNT_AT_MOST}"
    if len(left_out) > LISTED_AT_MOST or len(refs) > LISTED_AT_MOST:
        return f"has a range with more than {LISTED_AT_MOST} in except or refs"
    if any(not 1 <= place <= count for place in left_out) or list(left_out) != sorted(set(left_out)):
        return "has a range whose except is not a rising list of places"
    if any(not REF.fullmatch(ref) or names.why_bad_id(f"{token}-{ref}") for ref in refs) or len({*refs}) < len(refs):
        return "has a range whose refs are not different names"
    if not len(refs) + count - len(left_out):
        return "has a range without jobs"
    return ""
