"""Prepare jobs that are enqueued together and name each other, as those of one file do (`flow_split`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from queuectl.errors import InvalidJobError
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import flow, names, times
from queuectl.model.flow import Flow

Document = Mapping[str, Any]


def is_flow(documents: Iterable[object]) -> bool:
    """Return whether jobs that are enqueued together name each other by refs or `*`."""
    return any(isinstance(each, Mapping) and _names_others(each) for each in documents)


def _names_others(given: Document) -> bool:
    if given.get("ref") is not None:
        return True
    after = given.get("after")
    return after is not None and any(
        each == flow.STAR or (isinstance(each, Mapping) and each.get("id") == flow.STAR)
        for each in (after if isinstance(after, list | tuple) else [after])
    )


def prepare(
    producer: Producer,
    documents: Sequence[Any],
    *,
    name: str,
    made: Callable[[Any], Document],
    on_progress: Callable[[int], None],
) -> tuple[list[str], list[Prepared]]:
    """Return the ids of the jobs in the order given, and the jobs in the order of publishing: parents first.

    `name` is where they come from: their ids begin with it.

    Raises:
        InvalidJobError: a document, or how they name each other, is wrong; the message says which one.
    """
    spool, _, clock, rng = producer.session
    stem = names.clean_id(name).replace(".", "-")[: flow.TOKEN_STEM_CHARS].rstrip("-_") or "jobs"
    one = Flow(f"{stem}-{times.to_name(int(clock.now())).rstrip('Z')}-{names.new_token(rng)}")
    listed: list[Document] = []
    for number, given in enumerate(documents, 1):
        try:
            listed.append(made(given))
            one.add(flow.draft(listed[-1]))
        except InvalidJobError as error:
            raise _numbered(number, error) from error
    mistake = one.settle(lambda job_id: spool.find(job_id) is not None)
    if mistake is not None:
        raise InvalidJobError(f"job {mistake.place}: {mistake.why}", hint=mistake.hint)
    resolved = [one.made(place, each) for place, each in enumerate(listed, 1)]
    prepared, _ = producer.prepare_all(resolved, made=lambda each: each, on_progress=on_progress)
    return [each.job_id for each in prepared], [prepared[place - 1] for place in one.order()]


def _numbered(number: int, error: InvalidJobError) -> InvalidJobError:
    return InvalidJobError(
        f"job {number}: {error}", key=error.key, cause=error.cause, hint=error.hint, mistakes=error.mistakes
    )
