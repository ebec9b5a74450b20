"""The floor of C: a bare Python that lists the names of waiting jobs, tells generated ones from others, and sorts them.

A pool needs at least the list before its first start, because the first job may be any of them. Run as a program:
`python bench/listing.py FOLDER` prints the seconds since its start after each of the three.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time

_AT_ONCE = 10_000
_GENERATED = re.compile(r"^[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-z]{4}\.json$", re.MULTILINE)


def main(folder: str) -> None:
    """Print the three times."""
    began_s = time.perf_counter()
    listed = os.listdir(folder)
    listed_s = time.perf_counter()
    generated: list[str] = []
    for start in range(0, len(listed), _AT_ONCE):
        generated += _GENERATED.findall("\n".join(listed[start : start + _AT_ONCE]))
    split_s = time.perf_counter()
    generated.sort()
    print(json.dumps([at_s - began_s for at_s in (listed_s, split_s, time.perf_counter())]))


if __name__ == "__main__":
    main(sys.argv[1])
