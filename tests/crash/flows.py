"""The operations of the crash sweep on flows: the split of a file whose jobs name each other, and its refusal (P1, P6)."""

from __future__ import annotations

import json
from typing import Any

from queuectl.jobs import splitter
from tests.crash.driver import Endings, Hands, Operation

FLOW: list[dict[str, Any]] = [
    {"command": "true", "tags": ["all"], "after": {"id": "*", "when": "ended"}},
    {"command": "true", "tags": ["child"], "ref": "child", "after": "load"},
    {"command": "true", "tags": ["load"], "ref": "load"},
]
# A job that is published after its parents have run knows that they are settled.
_WAITED = {"enqueued started succeeded @done", "enqueued unblocked started succeeded @done"}
_ENDS: Endings = {
    "load": {"enqueued started succeeded @done"},
    "child": _WAITED,
    "all": {*_WAITED, "enqueued blocked started succeeded @done"},
}


def _drop(name: str, content: object) -> Any:
    return lambda hands: hands.drop(name, content)


def _lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def _nothing(_hands: Hands) -> None:
    return None


def _in_single_documents(hands: Hands, _: object) -> None:
    """A split whose every step is late after one document."""
    before, splitter._STEP_S = splitter._STEP_S, 0.0
    try:
        hands.claims.splits.split("job.jsonl")
        hands.finish_splits()
    finally:
        splitter._STEP_S = before


# Their names begin with `batch`, so that all stripes are open before: see `Hands.open_stripes`.
OPERATIONS = {
    made.name: made
    for made in (
        Operation("batch: a flow", _drop("job.json", FLOW), _nothing, lambda hands, _: hands.begin("job.json"), _ENDS),
        Operation(
            "batch: a flow in steps",
            _drop("job.jsonl", _lines(FLOW[0], FLOW[2])),
            _nothing,
            _in_single_documents,
            {tag: _ENDS[tag] for tag in ("load", "all")},
        ),
        Operation(
            "batch: a flow is refused",
            _drop("job.jsonl", _lines(FLOW[2], {"no": "job"})),
            _nothing,
            _in_single_documents,
            {},
            kept=(b'{"no": "job"}',),
        ),
    )
}
