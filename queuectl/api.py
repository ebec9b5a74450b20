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
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from queuectl.errors import InvalidJobError, SpoolUnavailableError, WaitTimeoutError
from queuectl.jobs import arguments
from queuectl.jobs.enqueue import Producer
from queuectl.model.settings import Settings
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock

if TYPE_CHECKING:
    from queuectl.monitor.results import Ending
    from queuectl.spool.lookup import Counts, Job


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
        folder = SpoolDir.open(arguments.folder("path", path))
        self.session = Session(folder, self._load_settings(folder), Clock(), random.Random())

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Spool:
        """The spool at `path`, made if there is none yet (settings and README included).

        Raises:
            TypeError: `path` is neither a string nor a path.
            SpoolUnavailableError: it cannot be made there.
        """
        from queuectl.spool import create as setup

        setup.create(SpoolDir(arguments.folder("path", path)))
        return cls(path)

    @staticmethod
    def _load_settings(folder: SpoolDir) -> Settings:
        return settings_file.load(folder)

    @property
    def folder(self) -> SpoolDir:
        """The files and folders of the spool."""
        return self.session.spool

    @property
    def settings(self) -> Settings:
        """The spool's settings, as they were when it was opened."""
        return self.session.settings

    @cached_property
    def _producer(self) -> Producer:
        return Producer(self.session)

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
        from queuectl.spool import trust

        prepared, wanted = self._producer.prepare_all(
            documents, made=made, on_progress=lambda number: told("checked", number)
        )
        with self._translated():
            trust.check(self.folder)  # a job for a spool that others can write to would be theirs to change (P10)
            if wanted:
                self._producer.refuse_duplicates(wanted)
            return self._producer.publish(prepared, on_progress=lambda number: told("put in", number))

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
        ids = [self.resolve(arguments.text("job_ids", job_id)) for job_id in job_ids]
        waiting = results.Wait(self.session, [results.id_at_end(self.session, job_id) for job_id in ids])
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
        from queuectl.spool import lookup

        return lookup.get(self.session, arguments.text("job_id", job_id))

    def pick(self, typed: str) -> Job:
        """The job that is meant by its id, by the beginning of one, or by its file: `done/job1` or `done/job1.json`.

        A file that is named tells two jobs apart that have one id.

        Raises:
            AmbiguousIdError, UnknownJobError: as `resolve`.
            DamagedRecordError: its file is not whole.
        """
        from queuectl.spool import lookup

        return lookup.pick(self.session, arguments.text("typed", typed))

    def resolve(self, prefix: str) -> str:
        """The id that is meant by an id or by the beginning of one: the job with this very id, else the only one that
        begins so, ignoring case. No file of a job is opened where there is one.

        Raises:
            AmbiguousIdError: several begin so.
            UnknownJobError: none does; the hint names ids that are near.
        """
        from queuectl.spool import lookup

        return lookup.resolve(self.session, arguments.text("prefix", prefix))

    def load(self, state: str, name: str) -> Job:
        """The job in the file `name` of a state's folder; also a drop that no worker has looked at yet.

        Raises:
            DamagedRecordError: the file is no job.
            FileNotFoundError: it is gone.
        """
        from queuectl.spool import lookup

        return lookup.load(self.session, state, name)

    def jobs(self, state: str) -> Iterator[Job]:
        """The jobs in a state, in the order of their files' names (generated ids: oldest first).

        Files that are no jobs (yet), and those that move on meanwhile, are passed over.

        Raises:
            ValueError: no such state (at once, not at the first job).
        """
        from queuectl.spool import lookup

        return lookup.jobs(self.session, arguments.text("state", state))

    def counts(self) -> Counts:
        """How many jobs are where: one listing a folder, no file is opened."""
        from queuectl.spool import lookup

        with self._translated():
            return lookup.counts(self.session)

    # -------------------------------------------------------------------------------------------------- change

    def requeue(self, job_id: str, *, by: str = "api") -> Job:
        """Run a dead or finished job again: its retries are fresh, its history is kept.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it is waiting or running already.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        from queuectl.jobs.requeue import requeue

        return requeue(self.session, arguments.text("job_id", job_id), by=arguments.text("by", by))

    def held(self, job_id: str) -> AbstractContextManager[None]:
        """Hold the stripe of an id, so that nobody claims, rescues or deletes the job meanwhile."""
        from queuectl.spool import stripes

        return stripes.held(self.session, arguments.text("job_id", job_id))

    def cancel(self, job_id: str, *, by: str = "api", reason: str = "") -> Job:
        """End a job for good: one that waits at once, one that runs with everything its command started.

        It lies in dlq/ then, as `cancelled`, and can be requeued. Returns once it is there.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it has ended already, by now or before.
            SpoolUnavailableError: its command has not ended in time (it is ended as soon as that can be), or the disk
                refuses.
        """
        from queuectl.jobs.cancel import Canceller

        for name, value in (("job_id", job_id), ("by", by), ("reason", reason)):
            arguments.text(name, value)
        return Canceller(self.session).cancel(job_id, by=by, reason=reason)

    def hold(self, job_id: str) -> Job:
        """Keep a waiting job from being run until `release`; its file's name says so.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it does not wait.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        from queuectl.jobs.hold import hold

        return hold(self.session, arguments.text("job_id", job_id))

    def release(self, job_id: str) -> Job:
        """Let a job that is held be run when it is due. Raises as `hold`."""
        from queuectl.jobs.hold import release

        return release(self.session, arguments.text("job_id", job_id))

    def pause(self, reason: str = "", *, until_at: float | datetime | None = None) -> None:
        """Start nothing new until `resume`, or until an instant; what runs is not touched.

        Raises:
            ValueError: `until_at` is a `datetime` without a time zone, or outside the years 1970 to 9999.
            SpoolUnavailableError: the disk refuses.
        """
        from queuectl.spool import pause

        arguments.text("reason", reason)
        end_at = None if until_at is None else arguments.instant("until_at", until_at)
        with self._translated():
            try:
                pause.pause(self.folder, reason, until_at=end_at)
            except IsADirectoryError as error:
                what = "the spool is paused already, by a folder with the name PAUSED"
                raise _paused_by_folder(self.folder, what) from error

    def resume(self) -> bool:
        """Go on after `pause`; False where the spool was not paused.

        Raises:
            SpoolUnavailableError: the disk refuses.
        """
        from queuectl.spool import pause

        with self._translated():
            try:
                return pause.resume(self.folder)
            except IsADirectoryError as error:
                what = "the spool stays paused, because a folder has the name PAUSED"
                raise _paused_by_folder(self.folder, what) from error

    def purge(self, job_id: str) -> None:
        """Delete a dead or finished job and its logs for good.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: it is waiting or running.
            SpoolUnavailableError: a worker holds it for too long, or the disk refuses.
        """
        from queuectl.jobs.purge import purge

        purge(self.session, arguments.text("job_id", job_id))

    def logs(self, job_id: str) -> list[str]:
        """The paths of a job's logs, first attempt first."""
        from queuectl.spool import lookup

        return lookup.logs(self.session, arguments.text("job_id", job_id))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise SpoolUnavailableError in the place of an OSError of the spool."""
        try:
            yield
        except OSError as error:
            from queuectl.spool.access import unavailable

            raise unavailable(self.folder, error) from error


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


def _paused_by_folder(spool: SpoolDir, what: str) -> SpoolUnavailableError:
    path = spool.paused_path
    cause = f"{path} is a folder: no reason can be written into it, and no program deletes a folder of yours"
    return SpoolUnavailableError(what, path=path, cause=cause, hint=f"move that folder away: {path}")
