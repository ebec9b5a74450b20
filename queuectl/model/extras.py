"""Defines the keys of format 2, which an older queuectl must not ignore, because they decide whether a job may run.

A record with one of these keys has `"format": 2`, so an older queuectl refuses it instead of running it otherwise.
A record with none of them stays in format 1, byte for byte.

To add a key: a field of `JobSpec` (what a producer writes), a field of `Extras` (what the record holds), its check in
`normalise`, and a row in FORMAT.md, section 3.
"""

from __future__ import annotations

from typing import Any

import msgspec

from queuectl.model.spec import PlainSpec


class JobSpec(PlainSpec, kw_only=True, omit_defaults=True):
    """The keys that a producer may set. Only `command` is required; unknown keys are kept and ignored."""


class Extras(msgspec.Struct, frozen=True):
    """The keys of format 2 as a record holds them."""


PLAIN = Extras()
"""The keys of a record in format 1."""
KEYS = frozenset(Extras.__struct_fields__)
"""The names of the keys of format 2."""


def normalise(keys: JobSpec) -> dict[str, Any]:
    """Check the keys of format 2 and return those that are set, as the record holds them.

    Raises:
        InvalidJobError: the error names the key and its mistake.
    """
    return {}
