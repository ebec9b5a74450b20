"""The planted bugs: how a job is published, claimed, settled, rescued, taken in, and run. `flow_bugs` has the others."""

from __future__ import annotations

from typing import NamedTuple

SWEEP, FAULTS, MEANWHILE = "crash/test_crash_sweep.py", "crash/test_faults.py", "crash/test_meanwhile.py"
WORKER, MODEL, STORM = "crash/test_real_worker.py", "properties/test_spool_model.py", "stress/test_kill_storm.py"
DISK, HANDOVER = "unit/system/test_disk.py", "unit/inbox/test_handover.py"
LEASE, FAMILY = "unit/spool/test_lease.py", "unit/worker/executors/test_family.py"
WHOLE, GONE = "e2e/test_ended_whole.py", "e2e/test_gone.py"
EVERY = (
    SWEEP,
    FAULTS,
    MEANWHILE,
    WORKER,
    MODEL,
    STORM,
    DISK,
    HANDOVER,
    LEASE,
    FAMILY,
    WHOLE,
    GONE,
)


class Bug(NamedTuple):
    """A bug: what it is, the file, the text that is replaced by another, and the tests that must find it."""

    what: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...] = EVERY


_DELETE = """\
        if box is not None and claimed and box.remove(claimed):
            if self._sync:
                box.sync()
        elif not any(event.claimed for event in item.history):  # no token marks a file of an inbox of files
            self._mark_spent(token)
        self.tokens.done(token)
"""
_WHY = "        self.put_text(target + _TEXT, _rejected_text(name, target, cause, sig, now_at))\n"
_REJECT = "            self._move(name, target)\n"

BUGS = (
    Bug(
        "the claim takes no stripe",
        "jobs/claim",
        "        if not stripe.try_acquire():\n            return Busy()\n        made: Claimed",
        "        stripe.try_acquire()\n        stripe.release()\n        made: Claimed",
    ),
    Bug(
        "settle moves the job before it appends the outcome",
        "jobs/settle",
        "        self._append_outcome(here, claimed, events)\n        return Settled(",
        "        moved = self.move(here, claimed.record, Settled(decision.to, here.name, due_at, decision.delay_s, reason))\n"
        "        there = Located(moved.to, moved.name, self._spool.path(moved.to, moved.name))\n"
        "        self._append_outcome(there, claimed, events)\n"
        "        claimed.moved = moved\n"
        "        return Settled(",
    ),
    Bug(
        "publishing gives up the name in tmp/ before it has the one in pending/",
        "system/disk",
        "    try:\n        os.link(source, target)\n    except OSError as error:\n",
        '    try:\n        data = open(source, "rb").read()\n        os.unlink(source)\n'
        "        create(target, data, sync=False)\n        return\n"
        "    except OSError as error:\n",
    ),
    Bug(
        "publishing replaces what is there",
        "system/disk",
        "        os.link(source, target)\n    except OSError as error:\n",
        "        os.rename(source, target)\n        return\n    except OSError as error:\n",
    ),
    Bug(
        "moving replaces what is there",
        "system/disk",
        "    if libc.rename_no_replace(source.encode(*_PATHS), target.encode(*_PATHS), *folder) == 0:\n        return\n",
        "    os.rename(source, target, src_dir_fd=at, dst_dir_fd=at)\n    return\n",
    ),
    Bug(
        "an append that the disk refuses does not put the old end back",
        "system/disk",
        "            write_at(fd, data[offset - size :], offset)  # these blocks already exist, so this needs no space\n            os.ftruncate(fd, size)\n",
        "            pass\n",
    ),
    Bug(
        "rescue does not try the lease",
        "jobs/rescue",
        "        return (is_locked if last.event in lifecycle.ENDINGS else is_alive)(self._spool, start.lease)",
        "        return False",
    ),
    Bug(
        "rescue repairs a record that is being written",
        "jobs/rescue",
        "            if self._runs_all_the_same(data) or self._has_changed(here, data):\n                return None\n",
        "",
    ),
    Bug(
        "rescue counts a run whose outcome is on record",
        "jobs/rescue",
        "        if last.event in lifecycle.ENDINGS:\n            allowed =",
        "        if last.event in ():\n            allowed =",
    ),
    Bug(
        "`started` is not on record before the command starts",
        "jobs/claim",
        "        disk.append(here.path, tail, sync=self._sync_all, fd=taken.fd)\n",
        "        tail = record.Tail(len(data), len(data), b'')\n",
    ),
    Bug(
        "commands do not inherit the lease",
        "worker/executors/posix",
        "                actions.append((os.POSIX_SPAWN_DUP2, spec.lease_fd, spec.lease_fd))\n",
        "                pass\n",
    ),
    Bug(
        "a run that was put back is counted",
        "model/lifecycle",
        "COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED})",
        "COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED, RELEASED})",
    ),
    Bug(
        "trouble at a claim is counted against the job",
        "jobs/claim",
        'self._settlements.settle(claimed, Outcome(RELEASED, reason=error.strerror or "trouble"))',
        'self._settlements.settle(claimed, Outcome("failed", 1, reason=error.strerror or "trouble"))',
    ),
    Bug(
        "a split that was cut short makes the jobs of its last step once more",
        "jobs/batch_step",
        "        return (item.turn or item.place) <= self.note.check_to\n",
        "        return False\n",
    ),
    Bug(
        "an enqueue that fails leaves what it had published",
        "jobs/enqueue",
        "                if files.sig_of(path) == sig:\n",
        "                if False:\n",
    ),
    Bug(
        "a worker drops the outcome that it cannot record",
        "worker/recorder",
        "                if tries == 0 and fault is None:\n",
        "                settled = None\n                break\n                if tries == 0 and fault is None:\n",
    ),
    Bug(
        "a worker keeps the lease that a job names which went on",
        "spool/lease",
        "        free = self._is_free()\n        if free and self._lock is not None:\n            self._lock.remove()\n"
        "        self._try_next()\n        return free\n",
        "        return self.renew()\n",
    ),
    Bug(
        "the due time is not looked at again when the clock was set back",
        "model/history",
        "(delay_s is not None and due_at - now_at > delay_s + 0.002)",
        "False",
    ),
    Bug(
        "the copy of a drop takes its place in two steps",
        "jobs/adopt",
        "        self._spool.replace_file(here.path, data, hint=job_id",
        "        disk.unlink(here.path)\n        self._spool.publish_file(here.path, data, hint=job_id",
    ),
    Bug(
        "a purge deletes the record before the logs",
        "jobs/purge",
        "        for log in _own_logs(session, job_id, found):\n            disk.unlink(log)\n        disk.unlink(found.path)\n",
        "        logs = _own_logs(session, job_id, found)\n        disk.unlink(found.path)\n"
        "        for log in logs:\n            disk.unlink(log)\n",
    ),
    Bug(
        "an edit takes the record away before the new one is in its place",
        "jobs/edit",
        "            self._spool.replace_file(draft.where.path",
        "            disk.unlink(draft.where.path)\n            self._spool.replace_file(draft.where.path",
    ),
    Bug(
        "the stripe of a drop is given back before its record is in its place",
        "jobs/claim",
        "            if not (isinstance(made, Claimed) and made.copy):\n                stripe.release()\n",
        "            stripe.release()\n",
    ),
    Bug(
        "rescue does not look for the record of a drop whose command was started",
        "jobs/rescue",
        "        if not _knows_a_run(data) and (started := self._put_start_in_place(here)) is not None:\n            data = started\n",
        "",
    ),
    Bug(
        "a hand-over deletes the dropped file before it has written the record",
        "inbox/handover",
        "            self._write(token, prepared)\n        except OSError:\n",
        "            box.remove(claimed)\n            self._write(token, prepared)\n        except OSError:\n",
    ),
    Bug(
        "a hand-over publishes the job before it deletes the dropped file",
        "inbox/handover",
        _DELETE,
        "        name = publish(self._session, path, item)\n" + _DELETE + "        return name\n",
    ),
    Bug(
        "a hand-over that was cut short gives the file back although its record is written",
        "inbox/handover",
        "            if file.endswith(RECORD):\n                token",
        "            if file.endswith(RECORD) and not left:\n                token",
    ),
    Bug(
        "a hand-over does not read the file again after the claim",
        "inbox/handover",
        "            if again.oversize or again.data != content.data:\n",
        "            if False:\n",
    ),
    Bug(
        "a claimed file that is away leaves no mark of its turn",
        "inbox/handover",
        "            self._mark_spent(token)\n        self.tokens",
        "            pass\n        self.tokens",
    ),
    Bug(
        "an inbox rejects a file before it has written why",
        "inbox/folder",
        _WHY + "        try:\n" + _REJECT,
        "        try:\n" + _REJECT + "    " + _WHY,
    ),
    Bug(
        "a run that is ended loses what left its group",
        "worker/executors/family",
        "            elif self._is_ours(child):\n                roots.append(child)\n",
        "",
    ),
    Bug(
        "a run that is ended takes the daemons of earlier jobs with it",
        "worker/executors/family",
        "        if self._at_start.is_alone:\n            return True\n",
        "        return True\n",
    ),
    Bug(
        "a lease that was swept between its two locks is kept",
        "spool/lease",
        "            if self._lock.id == before:\n",
        "            if True:\n",
    ),
    Bug(
        "a pool does not see that another spool is in the place of its own",
        "spool/anchor",
        "            if not inodes.is_at(self._lock.fd, self._lock.path) and not is_held(self._lock.path):\n"
        "                return self._gone()\n",
        "",
    ),
    Bug(
        "a spool that is out of reach counts as a job that was taken away",
        "spool/listing",
        "        return isinstance(error, FileNotFoundError) and self.lacks(state, name)\n",
        "        return isinstance(error, FileNotFoundError)\n",
    ),
    Bug(
        "a pool's own folder that is gone is the fault of each job",
        "worker/run",
        "            if not self._is_own_folder(item):\n",
        "            if True:\n",
    ),
    Bug(
        "a waiting job gets its end before it is taken to be cancelled",
        "jobs/cancel",
        "        self._take(found, here)\n        try:\n"
        "            disk.append(here.path, tail, sync=self._session.syncs_accepted)\n",
        "        try:\n            disk.append(found.path, tail, sync=self._session.syncs_accepted)\n"
        "            self._take(found, here)\n",
        (SWEEP,),
    ),
)
