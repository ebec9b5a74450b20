"""Put jobs into the spool as one submission: all of them are checked before the first is published (P1).

A submission is refused whole: for a job that is not valid, an id or a parent that does not fit, or a spool that others
can write to (P10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.spool import trust

Document = Mapping[str, Any]


def submit(
    producer: Producer,
    documents: list[Document],
    *,
    told: Callable[[str, int], None],
    made: Callable[[Document], Document],
    allow_missing: bool,
    name: str,
) -> list[str]:
    """Put jobs into the spool; return their ids in the order given, once they are on disk.

    `made` turns each item into the document of a job. If jobs name each other by `ref` or `*`, their ids begin with
    `name`, and parents are published first. With `allow_missing` the spool need not have the parents yet.

    Raises:
        InvalidJobError, UnknownParentError, DuplicateJobError, UntrustedSpoolError: nothing was written.
        OSError: the system call failed; see `Producer.publish`.
    """
    if any(isinstance(each, Mapping) and ("ref" in each or "after" in each) for each in documents):
        from queuectl.jobs import flow_enqueue

        if flow_enqueue.is_flow(documents):
            ids, prepared = flow_enqueue.prepare(
                producer, documents, name=name, made=made, on_progress=lambda number: told("checked", number)
            )
            trust.check(producer.session.spool)
            if not allow_missing:
                producer.refuse_missing(prepared)
            # A job that is skipped is on record, because others wait for it.
            put_in(producer, prepared, on_progress=lambda number: told("put in", number), keeps_skipped=True)
            return ids
    prepared, wanted = producer.prepare_all(documents, made=made, on_progress=lambda number: told("checked", number))
    trust.check(producer.session.spool)  # P10: others who can write to the spool could change the job
    if not allow_missing:
        producer.refuse_missing(prepared)
    if wanted:
        producer.refuse_duplicates(wanted)
    return put_in(producer, prepared, on_progress=lambda number: told("put in", number))


def put_in(
    producer: Producer,
    prepared: list[Prepared],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
    keeps_skipped: bool = False,
) -> list[str]:
    """Publish jobs that were checked, as `Producer.publish`; judge those with a unique key (`unique_enqueue.publish`).

    Raises as `Producer.publish`; SpoolUnavailableError if the lock of a key stays busy.
    """
    if not producer.has_unique:
        return producer.publish(prepared, on_progress=on_progress)
    from queuectl.jobs import unique_enqueue

    made = unique_enqueue.publish(producer, prepared, on_progress=on_progress, keeps_skipped=keeps_skipped)
    return [each.job_id for each in made]
