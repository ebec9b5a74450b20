"""The library: `from queuectl import Spool`. The commands call the same code.

    spool = Spool("spool")                                   # or Spool.create("spool")
    job_id = spool.enqueue(["convert", Path("a.png"), Path("a.jpg")], max_retries=1)
    spool.get(job_id).state                                  # "pending", "running", "done" or "dlq"
    [ending] = spool.wait(job_id, timeout="10m")
    ending.succeeded, ending.exit_code

Every method that writes returns once the change is on disk as the setting `durability` says.

Instants: the library returns each one as a float, seconds since 1970 UTC, and names it `..._at`;
`datetime.fromtimestamp(job.due_at, UTC)` makes a `datetime` of it. Where the library takes an instant (`run_at`,
`until_at`), it takes such a number or a `datetime` with a time zone. `Job.spec` and `Job.history` are what the job's
file holds, so instants there are RFC 3339 texts in UTC, as in every output of the commands' `--json`.

Paths: a `str` or any `os.PathLike`. Durations: a number of seconds, or a text such as `30s`, `5m`, `2h`.

A value that a job cannot have raises InvalidJobError, which says which key and why. A wrong type of any other argument
raises TypeError.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl.errors import (
    AmbiguousIdError,
    DamagedRecordError,
    InvalidJobError,
    QueuectlError,
    SpoolUnavailableError,
    UnknownJobError,
    WaitTimeoutError,
)
from queuectl.jobs import arguments
from queuectl.jobs.enqueue import CHUNK, Producer
from queuectl.model import names, record, times
from queuectl.model.job import JOB_MAX_BYTES, is_deep
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATE_ALIASES, STATES
from queuectl.model.settings import Settings
from queuectl.spool.folder import RECORD_MAX_BYTES, Located, SpoolDir, Stored
from queuectl.system import disk
from queuectl.system.clock import Clock

if TYPE_CHECKING:
    from queuectl.monitor.results import Ending

# How long a change by hand waits for a worker that is just claiming the same id.
_STRIPE_PATIENCE_S = 10.0
# Ids among which one is looked for that was mistyped: a tenth of a second.
_NEAR_AT_MOST = 5000
# Drops that are opened to find an id that no file's name has.
_DROPS_AT_MOST = 1000


class Job(NamedTuple):
    """A job as it lies in the spool.

    `attempts` are the runs started since it was last enqueued or requeued that count against `max_retries + 1`, the
    one that succeeded or is running included. `spec` holds every key of its file but `history`, unknown ones too;
    `history` is one dict an event. Instants are seconds since 1970 UTC.
    """

    id: str
    state: str
    path: str
    command: str | list[str]
    attempts: int
    max_retries: int
    priority: int
    tags: list[str]
    owner: str
    """Whose it is, or ""."""
    enqueued_at: float | None
    due_at: float | None
    worker: str
    """Who runs it, while it runs; else ""."""
    error: str
    """What went wrong last, in words, or ""."""
    spec: dict[str, Any]
    history: list[dict[str, Any]]
    meta: dict[str, Any]
    """The producer's own data, as it was given; {} where there is none."""
    cancelled: bool = False
    """True in dlq/ for a job that somebody cancelled: it did not fail."""


class Counts(NamedTuple):
    """Files in each folder; `waiting_for_time` are those of `pending` whose name says a later time."""

    pending: int
    running: int
    done: int
    dlq: int
    rejected: int
    waiting_for_time: int


class Spool:
    """One spool folder.

    Args:
        path: the folder.

    Raises:
        TypeError: `path` is neither a string nor a path.
        NotASpoolError: it is not a spool; `Spool.create` makes one.
        InvalidSettingsError: its queuectl.toml has a mistake.
        SpoolUnavailableError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = SpoolDir.open(arguments.folder("path", path))
        self.settings: Settings = self._load_settings()
        self._rng = random.Random()
        self._clock = Clock()
        self._producer = Producer(self.folder, self.settings, clock=self._clock, rng=self._rng)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Spool:
        """The spool at `path`, made if there is none yet (settings and README included).

        Raises:
            TypeError: `path` is neither a string nor a path.
            SpoolUnavailableError: it cannot be made there.
        """
        from queuectl.spool import create as setup

        setup.create(SpoolDir(arguments.folder("path", path)), rng=random.Random())
        return cls(path)

    def _load_settings(self) -> Settings:
        return self.folder.settings()

    @property
    def path(self) -> str:
        """The folder, absolute."""
        return self.folder.root

    # ------------------------------------------------------------------------------------------------- produce

    def enqueue(
        self,
        command: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        id: str | None = None,
        max_retries: int | None = None,
        backoff_base: float | None = None,
        backoff_max: float | str | None = None,
        jitter: float | None = None,
        timeout: float | str | None = None,
        priority: int | None = None,
        run_at: str | float | datetime | None = None,
        delay: float | str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str | os.PathLike[str]] | None = None,
        tags: Sequence[str] | None = None,
        no_retry_exit_codes: Sequence[int] | None = None,
        owner: str | None = None,
        retry_exit_codes: Sequence[int] | None = None,
        output_max: int | str | None = None,
        minimal_env: bool | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> str:
        """Put one job into the spool and return its id; see the job's schema for what each argument means.

        A string is a command for the shell. A list is a program and its arguments, started without a shell, and so is
        a path alone. The command runs in `cwd`, else in the folder that this process works in now, as after
        `queuectl enqueue --command` and `--`. (A job of `enqueue_many` without "cwd" runs where the pool was started.)

        Raises:
            InvalidJobError: an argument that cannot be; says which and why.
            DuplicateJobError: the spool holds a job with this id.
            SpoolUnavailableError: full, read-only or gone; nothing was left behind.
            UntrustedSpoolError: others can write to the spool; says what closes it.
        """
        given = {
            "id": id,
            "command": command,
            "max_retries": max_retries,
            "backoff_base": backoff_base,
            "backoff_max": backoff_max,
            "jitter": jitter,
            "timeout": timeout,
            "priority": priority,
            "run_at": run_at,
            "delay": delay,
            "cwd": _working_folder(cwd),
            "env": env,
            "tags": tags,
            "no_retry_exit_codes": no_retry_exit_codes,
            "owner": owner,
            "retry_exit_codes": retry_exit_codes,
            "output_max": output_max,
            "minimal_env": minimal_env,
            "meta": meta,
        }
        document = {key: value for key, value in given.items() if value is not None}
        document.setdefault("command", command)  # None is refused by its type, not as a key that is missing
        return self.enqueue_many([document])[0]

    def enqueue_many(
        self, documents: Iterable[Mapping[str, Any]], *, told: Callable[[str, int], None] = lambda _what, _number: None
    ) -> list[str]:
        """Put many jobs into the spool, each a mapping with the keys of a job file; return their ids in order.

        Values may be those that `enqueue` takes. All are checked first: on an invalid or duplicate one nothing is
        written. Of more than a thousand, `told` hears now and then how many are `checked` and then `put in`.

        Raises:
            As `enqueue`; an InvalidJobError says which document when there are several.
            TypeError: `documents` is one job or a text instead of several jobs.
        """
        if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
            raise TypeError(f"documents: expected a list of mappings, not {type(documents).__name__}")
        return self.enqueue_documents(documents, told=told, made=arguments.document)

    def enqueue_documents(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        told: Callable[[str, int], None] = lambda _what, _number: None,
        made: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda document: document,
    ) -> list[str]:
        """As `enqueue_many`, but a value counts as it stands: what a job file may not hold is refused here too.

        `made` makes the document of a job from what was given.
        """
        prepared = []
        wanted = []
        for number, document in enumerate(documents, 1):
            if number % CHUNK == 0:
                told("checked", number)
            try:
                document = made(document)
                if "history" in document:
                    document = {key: value for key, value in document.items() if key != "history"}
                prepared.append(self._producer.prepare(document, by="enqueue"))
            except InvalidJobError as error:
                if number == 1 and len(prepared) == 0 and not isinstance(documents, list):
                    raise
                if isinstance(documents, list) and len(documents) == 1:
                    raise
                raise InvalidJobError(
                    f"job {number}: {error}",
                    key=error.key,
                    cause=error.cause,
                    hint=error.hint,
                    mistakes=error.mistakes,
                ) from error
            if document.get("id") is not None:
                wanted.append(prepared[-1].job_id)
        from queuectl.spool import trust

        try:
            trust.check(self.folder)  # a job for a spool that others can write to would be theirs to change (P10)
            if wanted:
                self._producer.refuse_duplicates(wanted)
            return self._producer.publish(prepared, told=lambda number: told("put in", number))
        except OSError as error:
            raise unavailable(self.folder, error) from error

    # ---------------------------------------------------------------------------------------------------- wait

    def wait(self, *job_ids: str, first: bool = False, timeout: float | str | None = None) -> list[Ending]:
        """Wait until jobs have ended and return how, in the order in which their ends were seen.

        A job has ended when it is in done/ or dlq/; one that waits for a retry has not. With `first` one end is enough,
        and the list holds each that was seen by then. The beginning of an id is enough, as for `resolve`. A wait costs
        two calls of stat a job and look: 50 looks in the first second, fewer the longer it takes, one each second at
        last.

        Raises:
            UnknownJobError, AmbiguousIdError: no such job, or it was deleted meanwhile.
            QueuectlError: a file was refused as a job.
            DamagedRecordError: the record of a job that ended is torn.
            WaitTimeoutError: the time is up; `ended` and `left` say what has ended and what has not.
        """
        from queuectl.monitor import results

        limit_s = None if timeout is None else arguments.duration("timeout", timeout)
        ids = [results.id_at_end(self, self.resolve(arguments.text("job_ids", job_id))) for job_id in job_ids]
        waiting = results.Wait(self, ids, clock=self._clock)
        if not waiting.until_ended(first=first, limit_s=limit_s):
            ended = list(waiting.ended.values())
            raise WaitTimeoutError(waiting.left, ended=ended)
        return list(waiting.ended.values())

    # ---------------------------------------------------------------------------------------------------- look

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
            DamagedRecordError: its file is not whole.
        """
        arguments.text("job_id", job_id)
        for _ in range(5):
            found = self.folder.find(job_id)
            if found is None:
                break
            try:
                return self.load(found.state, found.name)
            except FileNotFoundError:
                continue  # it moved between the look and the read
        if (dropped := self.find_drop(job_id)) is not None:
            return dropped
        raise UnknownJobError(job_id)

    def pick(self, typed: str) -> Job:
        """The job that is meant by its id, by the beginning of one, or by its file: `done/job1` or `done/job1.json`.

        A file that is named tells two jobs apart that have one id.

        Raises:
            AmbiguousIdError, UnknownJobError: as `resolve`.
            DamagedRecordError: its file is not whole.
        """
        located = self.folder.file(typed)
        if located is not None:
            with contextlib.suppress(FileNotFoundError):
                return self.load(located.state, located.name)
        return self.get(self.resolve(typed))

    def resolve(self, prefix: str) -> str:
        """The id that is meant by an id or by the beginning of one: the job with this very id, else the only one that
        begins so, ignoring case. No file of a job is opened where there is one.

        Raises:
            AmbiguousIdError: several begin so.
            UnknownJobError: none does; the hint names ids that are near.
        """
        arguments.text("prefix", prefix)
        if prefix and self.folder.find(prefix) is not None:
            return prefix
        found = sorted(self.folder.ids(prefix)) if prefix else []
        if len(found) == 1:
            return found[0]
        if (dropped := self.find_drop(prefix)) is not None:
            return dropped.id
        if found:
            raise AmbiguousIdError(prefix, found)
        known = self.folder.ids()
        near = difflib.get_close_matches(prefix, sorted(known), n=3, cutoff=0.7) if len(known) <= _NEAR_AT_MOST else []
        raise UnknownJobError(prefix, hint=f"near it: {', '.join(near)}" if near else "")

    def find_drop(self, job_id: str) -> Job | None:
        """A drop that no worker has looked at lies under its file's name, whatever id it gives itself."""
        waiting = self.folder.waiting_names()
        drops = [name for name in waiting if not names.is_generated(name.removesuffix(".json").partition(",")[0])]
        for name in drops[:_DROPS_AT_MOST]:
            try:
                job = self.load(PENDING, name)
            except (DamagedRecordError, OSError):
                continue
            if job.id.lower() == job_id.lower():
                return job
        return None

    def load(self, state: str, name: str) -> Job:
        """The job in the file `name` of a state's folder; also a drop that no worker has looked at yet.

        Raises:
            DamagedRecordError: the file is no job.
            FileNotFoundError: it is gone.
        """
        path = self.folder.path(state, name)
        try:
            stored = self.folder.read(state, name)
        except DamagedRecordError:
            return self.load_drop(state, name, path)
        except disk.NotRegularError as error:
            raise not_regular(path) from error
        try:
            document = json.loads(stored.data)
        except (ValueError, RecursionError) as error:
            raise DamagedRecordError(f"{path} cannot be read", path=path, cause="it is not JSON") from error
        history = document.pop("history", [])
        if any(map(is_deep, (*document.values(), *history))):
            raise DamagedRecordError(f"{path} cannot be read", path=path, cause="it is nested too deep")
        return _job(stored.record, state, path, document, history)

    def load_drop(self, state: str, name: str, path: str) -> Job:
        """The job in a file that no worker has looked at yet; see `load`."""
        from queuectl.model import document as intake

        content = self.folder.read_document(path)
        if content.oversize:
            raise DamagedRecordError(f"{path} is no job: it is larger than {JOB_MAX_BYTES} bytes", path=path)
        parsed = intake.parse(content.data, lines=False)
        parts = names.parse(name)
        if not isinstance(parsed, intake.Single) or parts is None:
            why = parsed.why if isinstance(parsed, intake.Incomplete | intake.Refused) else "it holds many jobs"
            raise DamagedRecordError(f"{path} is no job (yet): {why}", path=path)
        try:
            taken = intake.accept(parsed.document, defaults=self.settings.retry_defaults, now_at=self._clock.now())
        except InvalidJobError as error:
            raise DamagedRecordError(f"{path} is no job: {error}", path=path, hint=error.hint) from error
        spec = {"id": names.clean_id(parts.stem), **taken.spec}
        item = record.decode(record.frame(spec, taken.history))
        return _job(item, state, path, spec, taken.history)

    def jobs(self, state: str) -> Iterator[Job]:
        """The jobs in a state, in the order of their files' names (generated ids: oldest first).

        Files that are no jobs (yet), and those that move on meanwhile, are passed over.

        Raises:
            ValueError: no such state (at once, not at the first job).
        """
        folder_state = STATE_ALIASES.get(arguments.text("state", state), state)
        if folder_state not in STATES:
            raise ValueError(f"no state {state!r}; the states are {', '.join(STATES)}")
        return self._jobs(folder_state)

    def _jobs(self, folder_state: str) -> Iterator[Job]:
        for name in self.folder.job_names(folder_state):
            try:
                yield self.load(folder_state, name)
            except (DamagedRecordError, OSError):
                continue

    def counts(self) -> Counts:
        """How many jobs are where: one listing a folder, no file is opened."""
        try:
            waiting = self.folder.waiting_names()
            now_at = self._clock.now()
            later = sum(
                1
                for name in waiting
                if ",due=" in name and (parts := names.parse(name)) and parts.due_at and parts.due_at > now_at
            )
            running, done, dlq, rejected = (
                len(self.folder.job_names(state)) for state in (RUNNING, DONE, DLQ, REJECTED)
            )
            return Counts(len(waiting), running, done, dlq, rejected, later)
        except OSError as error:
            raise unavailable(self.folder, error) from error

    # -------------------------------------------------------------------------------------------------- change

    def requeue(self, job_id: str, *, by: str = "api") -> Job:
        """Run a dead or finished job again: its retries are fresh, its history is kept.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it is waiting or running already.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        arguments.text("by", by)
        with self.held(job_id):
            return self._requeue(job_id, by)

    @contextlib.contextmanager
    def held(self, job_id: str) -> Iterator[None]:
        """Hold the stripe of an id, so that nobody claims, rescues or deletes the job meanwhile."""
        from queuectl.jobs.settle import Stripes

        arguments.text("job_id", job_id)
        self.folder.complete()
        stripes = Stripes(self.folder)
        try:
            stripe = stripes.of(job_id)
            deadline = self._clock.monotonic() + _STRIPE_PATIENCE_S
            while not stripe.try_acquire():
                if self._clock.monotonic() > deadline:
                    raise SpoolUnavailableError(f"job {job_id!r} is held by another process", path=self.path)
                time.sleep(0.01)
            try:
                yield
            finally:
                stripe.release()
        except OSError as error:
            raise unavailable(self.folder, error) from error
        finally:
            stripes.close()

    def _requeue(self, job_id: str, by: str) -> Job:
        found = self.folder.find(job_id)
        if found is None:
            raise UnknownJobError(job_id)
        if found.state not in (DLQ, DONE):
            raise QueuectlError(
                f"job {job_id!r} is {found.state}: only jobs in dlq/ and done/ can be run again",
                hint=f"queuectl show {job_id}",
            )
        try:
            stored = self.folder.read(found.state, found.name)
        except DamagedRecordError:
            stored = self.mended(found)
        event = record.event("requeued", self._clock.now(), by=by)
        offset, text = record.append(len(stored.data), [event], empty=not stored.record.history)
        sync = self.settings.durability != "off"
        disk.append(found.path, len(stored.data), offset, text, sync=sync)
        item = stored.record
        name = names.waiting_name(item.id, None, item.priority, item.owner)
        name = self.folder.move(found, PENDING, name, self._rng)
        self._forget_error(found)
        if sync:
            disk.sync_folder(self.folder.folder(PENDING))
        return self.load(PENDING, name)

    def cancel(self, job_id: str, *, by: str = "api", reason: str = "") -> Job:
        """End a job for good: one that waits at once, one that runs with everything its command started.

        It lies in dlq/ then, as `cancelled`, and can be requeued. Returns once it is there.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it has ended already, by now or before.
            SpoolUnavailableError: its command has not ended in time (it is ended as soon as that can be), or the disk
                refuses.
        """
        from queuectl.jobs.cancel import Cancelling

        for name, value in (("job_id", job_id), ("by", by), ("reason", reason)):
            arguments.text(name, value)
        return Cancelling(self, clock=self._clock, rng=self._rng).cancel(job_id, by=by, reason=reason)

    def _forget_error(self, found: Located) -> None:
        if found.state == DLQ:
            from queuectl.jobs import error_text

            error_text.forget(self.folder, found.name)

    def mended(self, found: Located) -> Stored:
        """Return a damaged record, cut back to its last whole event; what that costs is kept (see `repair.mend`)."""
        from queuectl.jobs import repair

        data = disk.read(found.path, RECORD_MAX_BYTES).data
        sync = self.settings.durability != "off"
        repair.mend(self.folder, found.path, found.name, data, sync=sync, clock=self._clock, rng=self._rng)
        return self.folder.read(found.state, found.name)

    def hold(self, job_id: str) -> Job:
        """Keep a waiting job from being run until `release`; its file's name says so.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it does not wait.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        return self._rename_waiting(job_id, names.held_name)

    def release(self, job_id: str) -> Job:
        """Let a job that is held be run when it is due. Raises as `hold`."""
        return self._rename_waiting(job_id, names.released_name)

    def _rename_waiting(self, job_id: str, new_name: Callable[[str], str]) -> Job:
        with self.held(job_id):
            found = self.folder.find(job_id)
            if found is None:
                raise UnknownJobError(job_id)
            if found.state != PENDING:
                raise QueuectlError(
                    f"job {job_id!r} does not wait: it is {found.state}", hint=f"queuectl show {job_id}"
                )
            wanted = new_name(found.name)
            name = found.name if wanted == found.name else self.folder.move(found, PENDING, wanted, self._rng)
            return self.load(PENDING, name)

    def pause(self, reason: str = "", *, until_at: float | datetime | None = None) -> None:
        """Start nothing new until `resume`, or until an instant; what runs is not touched.

        Raises:
            ValueError: `until_at` is a `datetime` without a time zone, or outside the years 1970 to 9999.
            SpoolUnavailableError: the disk refuses.
        """
        arguments.text("reason", reason)
        end_at = None if until_at is None else arguments.instant("until_at", until_at)
        try:
            self.folder.pause(reason, until_at=end_at, rng=self._rng)
        except IsADirectoryError as error:
            what = "the spool is paused already, by a folder with the name PAUSED"
            raise _paused_by_folder(self.folder, what) from error
        except OSError as error:
            raise unavailable(self.folder, error) from error

    def resume(self) -> bool:
        """Go on after `pause`; False where the spool was not paused.

        Raises:
            SpoolUnavailableError: the disk refuses.
        """
        try:
            return self.folder.resume()
        except IsADirectoryError as error:
            what = "the spool stays paused, because a folder has the name PAUSED"
            raise _paused_by_folder(self.folder, what) from error
        except OSError as error:
            raise unavailable(self.folder, error) from error

    def purge(self, job_id: str) -> None:
        """Delete a dead or finished job and its logs for good.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it is waiting or running.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        with self.held(job_id):
            self._purge(job_id)

    def _purge(self, job_id: str) -> None:
        found = self.folder.find(job_id)
        if found is None:
            raise UnknownJobError(job_id)
        if found.state not in (DLQ, DONE):
            raise QueuectlError(f"job {job_id!r} is {found.state}: only jobs in dlq/ and done/ can be purged")
        try:
            starts = record.standing(self.folder.read(found.state, found.name).record).starts
            logs = self.folder.log_paths(job_id, starts)
        except DamagedRecordError:
            logs = self.logs(job_id)
        if self.folder.others(job_id, found.path):
            logs = []  # another file has the id that they are named after (P7)
        # The logs first: what a crash leaves is a job without them, which can be purged again.
        for log in logs:
            disk.unlink(log)
        disk.unlink(found.path)
        self._forget_error(found)

    def logs(self, job_id: str) -> list[str]:
        """The paths of a job's logs, first attempt first."""
        arguments.text("job_id", job_id)
        listed = []
        for name in self.folder.names(self.folder.folder("logs")):
            stem, _, ending = name.rpartition(".")
            head, _, number = stem.rpartition(".")
            if ending == "log" and head == job_id and number.isdecimal():
                listed.append((int(number), self.folder.path("logs", name)))
        return [path for _, path in sorted(listed)]


def _job(item: record.Record, state: str, path: str, document: dict[str, Any], history: list[dict[str, Any]]) -> Job:
    standing = record.standing(item)
    enqueued = next((event for event in item.history if event.event == "enqueued"), None)
    running = standing.last is not None and standing.last.event == "started"
    succeeded = standing.last is not None and standing.last.event == "succeeded"
    spec = {key: value for key, value in document.items() if key not in ("format", "history")}
    return Job(
        id=item.id,
        state=state,
        path=path,
        command=item.command,
        attempts=standing.failures + (1 if running or succeeded else 0),
        max_retries=item.max_retries,
        priority=item.priority,
        tags=list(item.tags),
        owner=item.owner,
        enqueued_at=None if enqueued is None else _instant(enqueued.at),
        due_at=standing.due_at if state == PENDING else None,
        worker=standing.last.worker if running and standing.last is not None else "",
        error=standing.error,
        spec=spec,
        history=history,
        meta=dict(meta) if isinstance(meta := spec.get("meta"), dict) else {},
        cancelled=state == DLQ and standing.is_cancelled,
    )


def _working_folder(given: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    """The folder that a job of `enqueue` runs in, absolute."""
    try:
        if given is None:
            return os.getcwd()
        # A value that cannot be a folder is refused where all arguments are.
        return os.path.abspath(os.fspath(given)) if isinstance(given, str | os.PathLike) and given else given
    except FileNotFoundError as error:
        hint = "name one: cwd=..."
        raise InvalidJobError(
            "the folder this process works in does not exist any more", key="cwd", hint=hint
        ) from error


def _instant(text: str) -> float | None:
    try:
        return times.from_text(text)
    except ValueError:
        return None


def not_regular(path: str) -> DamagedRecordError:
    """The error for a link, a folder, a FIFO, a socket or a device where a job would be."""
    return DamagedRecordError(f"{path} is no job: it is no regular file", path=path, hint="it is left alone")


def _paused_by_folder(spool: SpoolDir, what: str) -> SpoolUnavailableError:
    path = spool.paused_path
    cause = f"{path} is a folder: no reason can be written into it, and no program deletes a folder of yours"
    return SpoolUnavailableError(what, path=path, cause=cause, hint=f"move that folder away: {path}")


def unavailable(spool: SpoolDir, error: OSError) -> QueuectlError:
    """The error that a person is shown for an OSError of the spool."""
    if isinstance(error, disk.NotRegularError):
        return not_regular(str(error.filename))
    hints = {
        "ENOSPC": "free some space on the disk, then try again",
        "EDQUOT": "your quota on this disk is used up",
        "EROFS": "the disk is mounted read-only",
        "EACCES": f"you may not write there: see the permissions of {spool.root}",
        "EPERM": f"you may not write there: see the permissions of {spool.root}",
    }
    import errno

    return SpoolUnavailableError(
        f"the spool {spool.root} cannot be used now: {error.strerror or error}",
        path=spool.root,
        cause=f"{error.filename or spool.root}: {error.strerror or error}",
        # Windows has some of the names with a prefix: WSAEDQUOT.
        hint=hints.get(errno.errorcode.get(error.errno or 0, "").removeprefix("WSA"), ""),
    )
