"""Files that hold many jobs: an array, or one job a line.

A batch is first moved to .queuectl/taken/TOKEN.json(l), where TOKEN is unique for this file, and then split. Every
job made from it has an id made from TOKEN and its place, or says TOKEN#PLACE in its `enqueued` event, so that a split
that was cut short can be finished without doubling: what is in the spool already is passed over. The end is a rename
to NAME.done; the file itself is kept as long as finished jobs are.
"""

from __future__ import annotations

import json
import random

from queuectl import fsops, intake, names, rejects, times, trust
from queuectl.clock import Clock
from queuectl.config import Settings
from queuectl.errors import DamagedRecordError, DuplicateJobError, InvalidJobError
from queuectl.lifecycle import PENDING, REJECTED
from queuectl.producer import Prepared, Producer
from queuectl.spool import Located, SpoolDir

DONE_ENDING = ".done"
_NOBODY, _OURS, _ANOTHER = "", "ours", "another's"


def token_of(taken: str) -> str:
    """The token of a file in taken/: its stem."""
    return taken.partition(".")[0]


def take(spool: SpoolDir, name: str, job_id: str, *, clock: Clock, rng: random.Random) -> str:
    """Move pending/`name` to taken/ under a name of its own; return that name. Raises FileNotFoundError."""
    ending = ".jsonl" if names.is_batch(name) else ".json"
    stem = job_id.replace(".", "-")[:60]
    while True:
        stamp = times.to_name(int(clock.now())).rstrip("Z")
        taken = f"{stem}-{stamp}-{names.new_token(rng)}{ending}"
        try:
            fsops.move(spool.path(PENDING, name), f"{spool.taken_dir}/{taken}")
        except FileExistsError:
            continue
        # The producer's file, and from now on a file of jobs of ours, which stays until retention deletes it.
        fsops.set_mode(f"{spool.taken_dir}/{taken}", spool.file_mode)
        return taken


def unfinished(spool: SpoolDir) -> list[str]:
    """The batches whose split was cut short, or is going on."""
    return [name for name in spool.names(spool.taken_dir) if not name.endswith(DONE_ENDING)]


def split(
    spool: SpoolDir, settings: Settings, taken: str, *, may_be_there: bool, clock: Clock, rng: random.Random
) -> int:
    """Make a job of each document in a batch, or a rejected file; return how many jobs there are of it now.

    The caller holds the stripe of the token. `may_be_there` says that an earlier split was cut short, so that jobs of
    it may exist: only what is missing is made.
    """
    path = f"{spool.taken_dir}/{taken}"
    token = token_of(taken)
    content = fsops.read(path, intake.BATCH_MAX_BYTES)
    owners = trust.owners(spool, settings)
    if owners is not None and content.owner not in owners:
        why, hint = trust.foreign_owner(content.owner)
        rejects.reject(spool, Located(PENDING, taken, path), taken, why, hint, clock=clock, rng=rng)
        return 0
    parsed = intake.parse(content.data, lines=taken.endswith(".jsonl"))
    if isinstance(parsed, intake.Incomplete | intake.Refused):
        # It was whole when it was judged and was written to since: kept as it is, like any file that is no job.
        rejects.reject(spool, Located(PENDING, taken, path), taken, parsed.why, parsed.hint, clock=clock, rng=rng)
        return 0
    documents = parsed.documents if isinstance(parsed, intake.Many) else [parsed.document]
    producer = Producer(spool, settings, clock=clock, rng=rng)
    ready: list[tuple[Prepared, str, object]] = []
    seen: set[str] = set()
    count = 0
    for place, document in enumerate(documents, 1):
        job_id, source = f"{token}-{place:04d}", f"{token}#{place}"
        if isinstance(document, intake.Refused):
            _reject(spool, job_id, document, document.why, document.hint, clock=clock, rng=rng)
            continue
        spec = {key: value for key, value in document.items() if key != "history"}
        if spec.get("id") is None:
            spec["id"] = job_id
        try:
            made = producer.prepare(spec, by="batch", batch=source)
        except InvalidJobError as error:
            _reject(spool, job_id, document, str(error), error.hint, clock=clock, rng=rng)
            continue
        if made.job_id.lower() in seen:
            _reject(spool, job_id, document, f"the id {made.job_id!r} is in the batch twice", "", clock=clock, rng=rng)
            continue
        seen.add(made.job_id.lower())
        there = _whose(spool, made.job_id, source) if may_be_there or made.job_id != job_id else _NOBODY
        if there == _NOBODY:
            ready.append((made, source, document))
        elif there == _OURS:
            count += 1
        else:
            _reject_duplicate(spool, job_id, made, document, clock=clock, rng=rng)
    try:
        if ready:
            producer.publish([made for made, _, _ in ready])
        count += len(ready)
    except DuplicateJobError:
        # Somebody took one of the ids just now: see which, one by one.
        for made, source, original in ready:
            there = _whose(spool, made.job_id, source)
            if there == _NOBODY:
                producer.publish([made])
            elif there != _OURS:
                place_id = f"{token}-{source.partition('#')[2]:0>4}"
                _reject_duplicate(spool, place_id, made, original, clock=clock, rng=rng)
                continue
            count += 1
    fsops.replace(path, path + DONE_ENDING)
    return count


def _reject_duplicate(
    spool: SpoolDir, job_id: str, made: Prepared, document: object, *, clock: Clock, rng: random.Random
) -> None:
    why = f"a job with the id {made.job_id!r} exists already"
    _reject(spool, job_id, document, why, "give it another id, or none", clock=clock, rng=rng)


def _whose(spool: SpoolDir, job_id: str, source: str) -> str:
    """Whose the job with this id is: nobody's, of this place of this batch, or another's. Raises OSError (trouble)."""
    while (found := spool.find(job_id)) is not None:
        try:
            stored = spool.read(found.state, found.name)
        except FileNotFoundError:
            continue  # it moved between the look and the read
        except (DamagedRecordError, fsops.NotRegularError, PermissionError):
            return _ANOTHER
        ours = any(event.event == "enqueued" and event.batch == source for event in stored.record.history)
        return _OURS if ours else _ANOTHER
    return _NOBODY


def _reject(
    spool: SpoolDir,
    job_id: str,
    document: object,
    why: str,
    hint: str,
    *,
    clock: Clock,
    rng: random.Random,
) -> None:
    """Keep one document of a batch in rejected/ beside its reason.

    Each is published whole: a split that is done again passes over what is there, so half a file would stay half.
    """
    name = f"{job_id}.json"
    raw = document.raw if isinstance(document, intake.Refused) else json.dumps(document, ensure_ascii=True, indent=1)
    data = raw.encode("utf-8", "surrogatepass") + b"\n"
    text = intake.reason_text(name, why, hint, now_at=clock.now(), version="new")
    for path, content in (
        (spool.reason_path(name), text.encode("utf-8", "replace")),
        (spool.path(REJECTED, name), data),
    ):
        temporary = spool.write_temporary(job_id, content, rng=rng, sync=False)
        try:
            fsops.publish(temporary, path)
        except FileExistsError:  # rejected by the split that was cut short
            fsops.unlink(temporary)
