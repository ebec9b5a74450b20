"""The planted bugs of rates and circuit breakers (P12)."""

from __future__ import annotations

from tests.crash.bugs import Bug

RATES, HALTS, KILLS = "unit/flows/test_rates.py", "unit/flows/test_halts.py", "crash/test_rates_sweep.py"
PACING, OLD, POOLS = "unit/model/test_pacing.py", "unit/maintenance/test_old_starts.py", "e2e/test_rates.py"

BUGS = (
    Bug(
        "a rate looks at the start after the n-th last one",
        "flows/rates",
        "    at = log.size - count * LINE_BYTES\n",
        "    at = log.size - (count + 1) * LINE_BYTES\n",
        (RATES, KILLS),
    ),
    Bug(
        "a rate starts a new window when the last one is over",
        "flows/rates",
        "    if at < 0 or first <= _old(now_at, log.rate.window_s):\n",
        "    if at < 0 or first[:20] < own[:20]:\n",
        (RATES,),
    ),
    Bug(
        "the instant of a start is rounded down",
        "flows/rates",
        "        at = times.round_up(now_at)\n",
        "        at = now_at\n",
        (RATES,),
    ),
    Bug(
        "a start ahead of the clock is void",
        "flows/rates",
        "if _LINE.fullmatch(line) and line <= own else own for line",
        'if _LINE.fullmatch(line) and line <= own else b"" for line',
        (RATES, KILLS),
    ),
    Bug(
        "a pool waits for a start ahead of the clock",
        "flows/rates",
        "        free = max(free, 1)  # ahead",
        "        pass  # ahead",
        (RATES,),
    ),
    Bug(
        "the start is added after the gate was unlocked",
        "flows/gates",
        "                self._add_start(board, index, passage.start)\n",
        "                lock, real = gate.lock, gate.lock.release\n"
        "                lock.release = lambda: (real(), self._add_start(board, index, passage.start), delattr(lock, 'release'))\n",
        (RATES, KILLS),
    ),
    Bug(
        "a log that was replaced is written on",
        "flows/rates",
        "        if fd is None or info is None or not info.st_nlink:  # without a name it was deleted or replaced\n",
        "        if fd is None or info is None:\n",
        (RATES, OLD),
    ),
    Bug(
        "a torn end of a log is kept",
        "flows/rates",
        "        return _Log(where, fd, info.st_size - info.st_size % LINE_BYTES, rate)",
        "        return _Log(where, fd, info.st_size, rate)",
        (RATES, KILLS),
    ),
    Bug(
        "a start that was undone counts",
        "flows/gates",
        "                self._gates.starts.take_out(self.start)\n",
        "                pass\n",
        (RATES,),
    ),
    Bug(
        "a log is trimmed to one line less than the rate",
        "flows/rates",
        "        kept = log.rate.starts * LINE_BYTES\n",
        "        kept = (log.rate.starts - 1) * LINE_BYTES\n",
        (RATES,),
    ),
    Bug(
        "keys that differ in case share a log",
        "spool/layout",
        "    is_plain = key == key.lower() and not names.is_device(key)\n",
        "    is_plain, key = True, key.lower()\n",
        (RATES,),
    ),
    Bug(
        "a pool suggests all names when a rate opens",
        "model/pacing",
        "            pace.left -= 1\n",
        "            pass\n",
        (PACING,),
    ),
    Bug(
        "a name that did not start uses up the rate of its pool",
        "model/pacing",
        "                pace.left += 1\n",
        "                pass\n",
        (PACING,),
    ),
    Bug(
        "a pause ends a row of failures",
        "flows/halts",
        "    return pause.halt(spool, queue, _reason",
        "    outcomes = outcomes[:0]\n    return pause.halt(spool, queue, _reason",
        (HALTS,),
    ),
    Bug(
        "the gate lets all in after a pause",
        "flows/gates",
        "            if any(self._prove(board, keys)):\n",
        "            if False:\n",
        (HALTS, KILLS, POOLS),
    ),
    Bug(
        "the gate believes that a worker has noticed the pause",
        "flows/gates",
        "            if pause.is_paused(self._spool, place.queue):\n",
        "            if False:\n",
        (HALTS,),
    ),
    Bug(
        "a success of a job from before empties the head",
        "flows/halts",
        "    return mark if is_trial and mark == SUCCESS else outcomes + mark\n",
        "    return mark if mark == SUCCESS else outcomes + mark\n",
        (HALTS,),
    ),
    Bug(
        "an outcome is counted again when it is settled again",
        "flows/gates",
        "            tally.outcomes = outcomes\n",
        "            pass\n",
        (HALTS,),
    ),
    Bug(
        "the circuit breaker replaces the pause of a person",
        "spool/pause",
        "        spool.publish_file(_path(spool, queue), data,",
        "        spool.replace_file(_path(spool, queue), data,",
        (HALTS,),
    ),
    Bug(
        "a run whose worker died is no failure of its queue",
        "jobs/rescue",
        "None if settled.cancelled else _DIED):\n",
        "None):\n",
        (HALTS, KILLS),
    ),
    Bug(
        "a broken board loses its head",
        "flows/lost_boards",
        "    data = boards.text_of(found, boards.outcomes(spool, queue))\n",
        "    data = boards.text_of(found)\n",
        (HALTS,),
    ),
)
