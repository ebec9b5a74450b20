"""The planted bugs of unique jobs: key notes, locks, replacement (P15)."""

from __future__ import annotations

from tests.crash.bugs import Bug

UNIQUES, SWEEP = "unit/jobs/test_uniques.py", "crash/test_uniques_sweep.py"
MODEL, NOTES, STORM = (
    "unit/model/test_uniqueness.py",
    "unit/maintenance/test_key_note_sweep.py",
    "stress/test_unique_storm.py",
)
INBOX = "unit/inbox/test_judge.py"

BUGS = (
    Bug(
        "the lock of a unique key is not taken",
        "spool/key_notes",
        "        yield _acquire(spool, lock, patience_s)\n",
        "        yield True\n",
        (UNIQUES, STORM),
    ),
    Bug(
        "a producer does not take the locks of unique keys",
        "spool/key_notes",
        "            if not _acquire(spool, lock, patience_s):\n",
        "            if False:\n",
        (UNIQUES, STORM),
    ),
    Bug(
        "two jobs of one call with one unique key are judged together",
        "jobs/unique_enqueue",
        "is_full = name in self.keys or ",
        "is_full = ",
        (UNIQUES,),
    ),
    Bug(
        "a unique job is published before its note",
        "jobs/unique_enqueue",
        "            key_notes.write_all(spool, notes, sync=sync)\n"
        "            if chunk:\n"
        "                self._producer.publish_chunk(chunk, self.published, sync=sync)\n",
        "            if chunk:\n"
        "                self._producer.publish_chunk(chunk, self.published, sync=sync)\n"
        "            key_notes.write_all(spool, notes, sync=sync)\n",
        (UNIQUES, SWEEP),
    ),
    Bug(
        "a claim does not ask the note of its unique key",
        "jobs/claim",
        "        if item.extras is not PLAIN and item.extras.unique and self._is_asked(item, standing, is_requeued):\n",
        "        if False:\n",
        (UNIQUES, SWEEP),
    ),
    Bug(
        "a replacement starts while the old job waits",
        "jobs/uniques",
        "        if note is not None and is_mine and not replace_all(session, note.replaces, by=item.id):\n",
        "        if False:\n",
        (UNIQUES, SWEEP),
    ),
    Bug(
        "the old job is skipped before its replacement is there",
        "jobs/unique_enqueue",
        "        notes.append((terms.key, note))\n",
        "        uniques.replace_all(session, verdict.replaces, by=item.job_id)\n"
        "        notes.append((terms.key, note))\n",
        (SWEEP,),
    ),
    Bug(
        "a drop that is put back takes the place of its replacement",
        "jobs/uniques",
        "        if note is not None and (place.waits or place.runs) and job_id in (note.behind, *note.replaces):\n",
        "        if False:\n",
        (UNIQUES,),
    ),
    Bug(
        "a replacement that never came frees the key",
        "jobs/uniques",
        "        if note is not None and not (place.waits or place.runs):\n",
        "        if False:\n",
        (UNIQUES,),
    ),
    Bug(
        "the event of a skipped job is written in pending/",
        "jobs/uniques",
        "        return _skip_replaced(session, here, found.name, by)\n",
        "        item = session.spool.read(RUNNING, here.name)\n"
        "        back = Located(PENDING, found.name, found.path)\n"
        "        disk.move(here.path, found.path)\n"
        "        _end(session, back, item.data, item.record, [replaced(session.clock.now(), by)], -1)\n"
        "        return True\n",
        (SWEEP,),
    ),
    Bug(
        "a replacement does not wait for the job that runs",
        "model/uniqueness",
        "        return Accepted(note.replaces, note.id)\n",
        "        return Accepted()\n",
        (MODEL, UNIQUES, STORM),
    ),
    Bug(
        "a second replacement forgets the job that runs",
        "model/uniqueness",
        "        return Accepted((note.id, *note.replaces), note.behind, times.instant(note.row_at))\n",
        '        return Accepted((note.id, *note.replaces), "", times.instant(note.row_at))\n',
        (MODEL, UNIQUES, STORM),
    ),
    Bug(
        "a row of replacements is put off for ever",
        "model/uniqueness",
        "    return min(due_at, accepted.row_at + ROW_DELAYS * delay_s)\n",
        "    return due_at\n",
        (MODEL, UNIQUES),
    ),
    Bug(
        "a dead job holds its unique key",
        "spool/key_notes",
        "Place(found.state == PENDING, found.state == RUNNING, ",
        "Place(found.state == PENDING, found.state in (RUNNING, DLQ), ",
        (UNIQUES,),
    ),
    Bug(
        "a job under another name is taken for gone",
        "spool/key_notes",
        "    found = find_known(spool, note) or spool.find_named(note.id)\n",
        "    found = find_known(spool, note)\n",
        (UNIQUES, STORM),
    ),
    Bug(
        "a job behind a full gate gives its unique key up",
        "jobs/uniques",
        "    return Place(waits=not has_started, runs=has_started)\n",
        "    return Place(waits=found.state == PENDING, runs=found.state == RUNNING)\n",
        (UNIQUES,),
    ),
    Bug(
        "a failed job waits for its backoff although its replacement waits",
        "jobs/settle",
        "            if other:\n",
        "            if False:\n",
        (UNIQUES, SWEEP),
    ),
    Bug(
        "a retry takes the key from another job",
        "jobs/requeue",
        "    if item.extras.unique:\n",
        "    if False:\n",
        (UNIQUES,),
    ),
    Bug(
        "the sweep deletes the note of a job that was published meanwhile",
        "maintenance/key_note_sweep",
        "        if place is not None and not _is_free(note, place):\n            return False\n",
        "",
        (NOTES,),
    ),
    Bug(
        "a job that holds its unique key until it is deleted gives it up when it is done",
        "jobs/uniques",
        "        if to == DONE and note.until == UNTIL_DELETED:\n",
        "        if False:\n",
        (UNIQUES,),
    ),
    Bug(
        "the sweep deletes the note of a job that holds its key until it is deleted",
        "maintenance/key_note_sweep",
        "(place.state == DONE and note.until != UNTIL_DELETED)",
        "place.state == DONE",
        (NOTES,),
    ),
    Bug(
        "a signed job can keep out those of another owner",
        "inbox/admission",
        '        made["unique"] = f"{inbox.owner}:{unique}"  # so that nobody suppresses the jobs of another owner\n',
        "        pass\n",
        (INBOX,),
    ),
)
