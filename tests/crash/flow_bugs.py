"""The planted bugs of flows: gates and boards, parents, notes, groups, desks, snoozes, expiry (P12, P13)."""

from __future__ import annotations

from tests.crash.bugs import FAULTS, SWEEP, Bug

GATES, BOARDS, GATE_STORM = (
    "unit/flows/test_gates.py",
    "crash/test_gate_meanwhile.py",
    "stress/test_gate_storm.py",
)
PARENTS, BLOCKING, FAMILIES = (
    "crash/test_parents_sweep.py",
    "unit/jobs/test_blocking.py",
    "stress/test_families.py",
)
SPLIT, FLOWS, FLOW = "unit/jobs/test_flow_split.py", "crash/test_flow_sweep.py", "unit/model/test_flow.py"
DESK, DESKS, DESK_RUNS = "unit/worker/test_desk.py", "crash/test_desk_sweep.py", "e2e/test_desk.py"
SNOOZE, EXPIRY = "unit/model/test_snooze.py", "unit/jobs/test_expiry.py"

BUGS = (
    Bug(
        "the gate lets in one more than its slots",
        "flows/gates",
        'keys.count(b"") >= place.slots',
        'keys.count(b"") > place.slots',
        (GATES, GATE_STORM),
    ),
    Bug(
        "the gate counts the dead",
        "flows/gates",
        "            if entry is not None and not boards.counts(self._spool, entry):\n",
        "            if False:\n",
        (GATES, SWEEP),
    ),
    Bug(
        "the gate takes a lost board for an empty one",
        "flows/lost_boards",
        "for name in spool.job_names(RUNNING) if (entry",
        "for name in () if (entry",
        (GATES, BOARDS),
    ),
    Bug(
        "the gate forgets drops whose record is still in tmp/ when it makes a board",
        "flows/lost_boards",
        "    items += [spool.tmp_path(start) for start in spool.starts(job_id)]\n",
        "",
        (GATES,),
    ),
    Bug(
        "settle leaves its line in the gate's board",
        "jobs/settle",
        "            claimed.gate.leave(",
        "            str(",
        (GATES, BOARDS),
    ),
    Bug(
        "who leaves a gate blanks the place without a look whose it is",
        "flows/open_board",
        "        if self._find() and files.read_at(self._fd, LINE_BYTES * (index + 1), LINE_BYTES) == line:\n",
        "        if self._find():\n",
        (GATES, BOARDS),
    ),
    Bug(
        "an open board is not compared with its path",
        "flows/open_board",
        "        if self._fd >= 0 and inode == self._inode:\n",
        "        if self._fd >= 0 and inode != (0, 0):\n",
        (GATES, BOARDS),
    ),
    Bug(
        "an open lock of a gate is not compared with its path",
        "system/locks",
        "            if inodes.inode_and_size(self.path)[0] == self._inode:\n",
        "            if True:\n",
        (GATES,),
    ),
    Bug(
        "the gate is not locked",
        "flows/gates",
        "        if not self._open.acquire(gate.lock, _PATIENCE_S):\n            return Shut(BUSY)\n",
        "        self._open.acquire(gate.lock, 0.0)\n        gate.lock.release()\n",
        (GATES, BOARDS),
    ),
    Bug(
        "a claim does not ask the parents",
        "jobs/claim",
        "        has_parents = item.extras is not PLAIN and item.blocked is not None\n",
        "        has_parents = False\n",
        (PARENTS, BLOCKING),
    ),
    Bug(
        "a parent that is met is asked again",
        "model/parents",
        "        if kind in (lifecycle.BLOCKED, lifecycle.UNMET):",
        "        if not kind:",
        (PARENTS, BLOCKING),
    ),
    Bug(
        "a parent that is in no folder counts as done",
        "flows/dependencies",
        "    return spool.holds(job_id, (DONE, DLQ))\n",
        '    return spool.holds(job_id, (DONE, DLQ)) or ("" if spool.find(job_id) else DONE)\n',
        (PARENTS, BLOCKING),
    ),
    Bug(
        "nobody notes of which parent a job died",
        "jobs/blocking",
        "    if verdict.kind == UNMET and is_noted:\n",
        "    if not verdict.kind:\n",
        (PARENTS, BLOCKING),
    ),
    Bug(
        "the note of a job that comes back is deleted before its move",
        "jobs/revive",
        '        name = ""\n        try:\n            stored',
        '        name = ""\n        victims.forget(self._spool, parent, child)\n        try:\n            stored',
        (PARENTS, BLOCKING),
    ),
    Bug(
        "a job that is released from its parents moves before that is on record",
        "jobs/hold",
        "        disk.append(found.path, tail, sync=session.syncs_accepted)\n",
        '        moved = spool.move(found, PENDING, f"{item.id}.json")\n'
        "        found = Located(PENDING, moved, spool.path(PENDING, moved))\n"
        "        disk.append(found.path, tail, sync=session.syncs_accepted)\n",
        (PARENTS, BLOCKING),
    ),
    Bug(
        "a full key lets in one more",
        "flows/gates",
        "keys.count(place.key.encode()) >= place.per_key",
        "keys.count(place.key.encode()) > place.per_key",
        (GATES, BOARDS),
    ),
    Bug(
        "the gate is unlocked before the start is on record",
        "jobs/claim",
        "            folded = folding.fold(data, item)",
        "            if admitted is not None:\n                admitted.open()\n"
        "            folded = folding.fold(data, item)",
        (BOARDS,),
    ),
    Bug(
        "a start that fails leaves its line in the board",
        "jobs/claim",
        "            if admitted is not None:\n                admitted.undo()\n",
        "            if admitted is not None:\n                admitted.open()\n",
        (GATES, FAULTS),
    ),
    Bug(
        "who leaves does not look for its line in a board that was made again",
        "flows/gates",
        "            self._gates.leave(self._queue, self._lease)\n",
        "            pass\n",
        (GATES, BOARDS),
    ),
    Bug(
        "a job that was found in running/ counts for as long as its worker lives",
        "flows/boards",
        "    return entry.lease in started\n",
        "    return True\n",
        (GATES, BOARDS),
    ),
    Bug(
        "the gate does not go by the queue in the record",
        "flows/admission",
        "        queue = item.extras.queue or DEFAULT\n",
        "        queue = DEFAULT\n",
        (GATES,),
    ),
    Bug(
        "rescue leaves the line of a dead run",
        "jobs/rescue",
        "        if self._gates.forget(queue, last.lease, None if settled.cancelled else _DIED):\n",
        "        if False:\n",
        (GATES,),
    ),
    Bug(
        "only the parent in the name is asked",
        "flows/dependencies",
        "    for index in range(at, -1, -1):\n",
        "    for index in range(at, at - 1, -1):\n",
        (PARENTS, BLOCKING, FAMILIES),
    ),
    Bug(
        "a dead parent counts as done",
        "model/parents",
        "    return parent.when in (ENDED, OVER) or (parent.when == DONE) == (state == lifecycle.DONE)\n",
        "    return parent.when != DEAD or state != lifecycle.DONE\n",
        (PARENTS, BLOCKING),
    ),
    Bug(
        "a retry asks the parents again",
        "model/parents",
        "        if kind in (lifecycle.STARTED, lifecycle.UNBLOCKED) or event.counts.get(lifecycle.STARTED):\n",
        "        if kind == lifecycle.UNBLOCKED:\n",
        (BLOCKING,),
    ),
    Bug(
        "a parent that is missing starts the grace anew at each look",
        "jobs/hopeless",
        "            if known is not None and known.missing_since and not again:\n",
        "            if False:\n",
        (BLOCKING,),
    ),
    Bug(
        "a job ends although its record says that it waits for another parent",
        "jobs/hopeless",
        "        return stored if known is not None and known.pointer == parent else Unsure()\n",
        "        return stored if known is not None else Unsure()\n",
        (BLOCKING,),
    ),
    Bug(
        "a job is unmet before its note is there",
        "jobs/blocking",
        "    if verdict.kind == UNMET and is_noted:\n        victims.note(session.spool, verdict.parent, item.id)\n"
        "    with ending.on_record():\n"
        "        _append(session, here, data, item, [*events, over(verdict, session.clock.now())], fd)\n",
        "    with ending.on_record():\n"
        "        _append(session, here, data, item, [*events, over(verdict, session.clock.now())], fd)\n"
        "        if verdict.kind == UNMET and is_noted:\n"
        "            victims.note(session.spool, verdict.parent, item.id)\n",
        (PARENTS,),
    ),
    Bug(
        "a job comes back although it died of something else",
        "jobs/revive",
        "            if is_victim(stored.record, parent):\n",
        "            if True:\n",
        (BLOCKING,),
    ),
    Bug(
        "purge keeps the notes of a parent",
        "jobs/purge",
        "victims.forget_all(",
        "victims.children(",
        (BLOCKING, PARENTS),
    ),
    Bug(
        "a flow is published as far as its first mistake",
        "jobs/splitter",
        "                return self._refuse(taken, path, note, checked.why, checked.hint)\n            note = checked\n",
        "                checked = replace(note, offset=0, line=0, place=0, phase=flow_split.PLAIN)\n"
        "            note = checked\n",
        (SPLIT, FLOWS),
    ),
    Bug(
        "the jobs of a flow are published in the order of the file",
        "jobs/flow_split",
        "            listed = self.flow.order()\n",
        "            listed = range(1, self.flow.count + 1)\n",
        (SPLIT, FLOWS),
    ),
    Bug(
        "the plan of a flow stays behind",
        "jobs/splitter",
        "        self._flows.delete_plan(taken, note)\n        disk.replace(",
        "        disk.replace(",
        (FLOWS,),
    ),
    Bug(
        "the plan of a flow is deleted after the file is done",
        "jobs/splitter",
        "        self._flows.delete_plan(taken, note)\n"
        "        disk.replace(batch.path_of(self._spool, taken), self._path(taken) + batch.DONE_ENDING)\n",
        "        disk.replace(batch.path_of(self._spool, taken), self._path(taken) + batch.DONE_ENDING)\n"
        "        self._flows.delete_plan(taken, note)\n",
        (FLOWS,),
    ),
    Bug(
        "a job that is named alone is in the range too",
        "model/flow",
        "        stars = {*self._stars, *alone}\n",
        "        stars = set(self._stars)\n",
        (FLOW,),
    ),
    Bug(
        "a member of a group that was deleted is waited for",
        "flows/dependencies",
        "            if not (blocked.missing_since and asked.is_member(",
        "            if not (False and asked.is_member(",
        (SPLIT, PARENTS),
    ),
    Bug(
        "a result goes to the logs after the outcome is on record",
        "worker/recorder",
        "                if slot.desk.has_news(run.started_s):\n"
        "                    claimed.given = slot.desk.collect(claimed.job_id, claimed.attempt, before=claimed.given)\n"
        "                settled = self._settlements.settle(claimed, outcome)\n",
        "                settled = self._settlements.settle(claimed, outcome)\n"
        "                if slot.desk.has_news(run.started_s):\n"
        "                    claimed.given = slot.desk.collect(claimed.job_id, claimed.attempt, before=claimed.given)\n",
        (DESKS,),
    ),
    Bug(
        "rescue loses the result of a run",
        "jobs/rescue",
        "        claimed.given = keep_result(self._spool, claimed.lease, job_id, attempt)\n",
        "",
        (DESKS,),
    ),
    Bug(
        "a desk is not emptied between two runs",
        "spool/desk",
        "            for name in found:\n                disk.unlink(",
        "            for name in ():\n                disk.unlink(",
        (DESK, DESKS),
    ),
    Bug(
        "a link on the desk is followed as a result",
        "spool/desk",
        "            if not files.is_regular(name, at=self.fd):\n                is_there",
        "            if files.sig_of(name, at=self.fd) is None:\n                is_there",
        (DESK,),
    ),
    Bug(
        "the time of a desk is believed right after the worker's own change",
        "worker/desk",
        "    self._trusted_from_s = self._clock.monotonic() + _SAME_STAMP_S\n",
        "    self._trusted_from_s = 0.0\n",
        (DESK,),
    ),
    Bug(
        "a process that is left behind shares its desk with the next run",
        "worker/slot",
        "        self.output.abandon()\n        self.desk.abandon()\n",
        "        self.output.abandon()\n",
        (DESK_RUNS,),
    ),
    Bug(
        "a snooze counts as a failure",
        "model/lifecycle",
        "COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED})",
        "COUNTED = frozenset({FAILED, TIMED_OUT, ABANDONED, SNOOZED})",
        (SNOOZE, DESKS),
    ),
    Bug(
        "a row of snoozes never ends",
        "model/lifecycle",
        "    if spent.now_at + delay_s > spent.snoozing_since_at + policy.snooze_max_s:\n",
        "    if False:\n",
        (SNOOZE, DESKS),
    ),
    Bug(
        "a failure does not end a row of snoozes",
        "model/history",
        "        elif kind in lifecycle.COUNTED or kind == lifecycle.SUCCEEDED:\n            snoozes",
        "        elif kind == lifecycle.SUCCEEDED:\n            snoozes",
        (SNOOZE,),
    ),
    Bug(
        "a job that asks to run again at once does",
        "model/lifecycle",
        "    delay_s = max(SNOOZE_LEAST_S, wanted_s)\n",
        "    delay_s = wanted_s\n",
        (SNOOZE,),
    ),
    Bug(
        "give_up_after does not look at when the next run would begin",
        "model/lifecycle",
        "spent.now_at + delay_s > spent.since_at + limit_s:\n        tried",
        "spent.now_at > spent.since_at + limit_s:\n        tried",
        (SNOOZE, DESKS),
    ),
    Bug(
        "a job that has expired starts",
        "jobs/claim",
        "        elif item.extras is not PLAIN and (why := expiry.why_expired(item, now_at)):\n",
        "        elif item.extras is PLAIN and (why := expiry.why_expired(item, now_at)):\n",
        (EXPIRY,),
    ),
    Bug(
        "a requeue does not void the expiry",
        "model/expiry",
        "or _is_void(item.history):\n",
        "or False:\n",
        (EXPIRY,),
    ),
    Bug(
        "an expired job moves before that is on record",
        "jobs/claim",
        "            disk.append(taken.here.path, tail, sync=self._sync_all, fd=taken.fd)\n"
        "            return ending.bury(self._session, taken.here, item.id, why)\n",
        "            made = ending.bury(self._session, taken.here, item.id, why)\n"
        "            disk.append(self._spool.path(DLQ, made.name), tail, sync=self._sync_all, fd=taken.fd)\n"
        "            return made\n",
        (SWEEP,),
    ),
)
