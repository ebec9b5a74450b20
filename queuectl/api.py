"""The library: `from queuectl import Spool`. The commands call the same code. docs/python.md has the examples.

    spool = Spool("spool")                                   # or Spool.create("spool")
    job_id = spool.enqueue(["convert", Path("a.png"), Path("a.jpg")], max_retries=1)
    spool.get(job_id).state                                  # "pending", "running", "done" or "dlq"
    [ending] = spool.wait(job_id, timeout="10m")
    ending.succeeded, ending.exit_code

A method that writes returns once the change is as safe on disk as the setting `durability` says.

Instants: the library returns each instant as a float in seconds since 1970 UTC, under a name that ends in `_at`.
`datetime.fromtimestamp(job.due_at, UTC)` turns such a number into a `datetime`. An argument that is an instant
(`run_at`, `until_at`) may be such a number or a `datetime` with a time zone. `Job.spec` and `Job.history` hold what the
job's file holds, so instants there are RFC 3339 texts in UTC, as in every `--json` output of the commands.

Paths: a `str` or any `os.PathLike`. Durations: a number of seconds, or a text such as `30s`, `5m`, `2h`.

A value that a job cannot have raises InvalidJobError, which names the key and the reason. A wrong type of any other
argument raises TypeError.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from queuectl.api_schedules import SpoolSchedules
from queuectl.errors import WaitTimeoutError
from queuectl.jobs import arguments
from queuectl.jobs.arguments import JobId, JobKeys
from queuectl.jobs.enqueue import Producer
from queuectl.model.settings import Settings
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock

if TYPE_CHECKING:
    from queuectl.model.progress import Progress
    from queuectl.monitor.results import Ending
    from queuectl.spool.groups import GroupCounts
    from queuectl.spool.lookup import Counts, Job


class Spool(SpoolSchedules):
    """One spool folder.

    Args:
        path: the folder, a `str` or any `os.PathLike`.

    Raises:
        TypeError: `path` is neither a string nor a path.
        NotASpoolError: the folder is not a spool; `Spool.create` makes one.
        InvalidSettingsError: queuectl.toml has a mistake; names the file, the key and what is allowed.
        SpoolUnavailableError: the folder or its settings cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = SpoolDir.open(arguments.folder("path", path))
        self.session = Session(folder, self._load_settings(folder), Clock(), random.Random())

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Spool:
        """Return the spool at `path`. Make the folder, its settings and its README first if there is no spool yet.

        Raises:
            As the class, but no NotASpoolError; SpoolUnavailableError also if a folder or file cannot be made there.
        """
        from queuectl.spool import create as setup

        setup.create(SpoolDir(arguments.folder("path", path)))
        return cls(path)

    @staticmethod
    def _load_settings(folder: SpoolDir) -> Settings:
        return settings_file.load(folder)

    @property
    def folder(self) -> SpoolDir:
        """The files and folders of the spool (FORMAT.md, section 2)."""
        return self.session.spool

    @property
    def settings(self) -> Settings:
        """The settings, as they were when the spool was opened."""
        return self.session.settings

    @cached_property
    def _producer(self) -> Producer:
        return Producer(self.session)

    @property
    def path(self) -> str:
        """The absolute path of the folder."""
        return self.folder.root

    # ------------------------------------------------------------------------------------------------- produce

    def enqueue(
        self,
        command: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        allow_missing: bool = False,
        **keys: Unpack[JobKeys],
    ) -> JobId:
        """Put one job into the spool and return its id. FORMAT.md, section 3, explains each key of a job.

        A string is a command for the shell. A list is a program and its arguments, and a single path is a program;
        both start without a shell. The command runs in `cwd`, by default in the current folder of this process, as
        with `queuectl enqueue`. (A job of `enqueue_many` without "cwd" runs where the pool was started.) `output_max`
        is bytes or a text such as `100M`. `after` is the id of a job that must end first, or a list of ids, each also
        as `{"id": ID, "when": "ended"}`; with `allow_missing` such a job may arrive later. What you leave out comes
        from the settings.

        If a job with the same `unique` key is there already, nothing is added: the id is that job's, and its attribute
        `added` is False.

        Raises:
            InvalidJobError: a key is not allowed; names the key and the reason.
            UnknownParentError: the spool has no such job as `after` names.
            DuplicateJobError: the spool already holds a job with this id.
            SpoolUnavailableError: the spool is full, read-only or gone; nothing was left behind.
            UntrustedSpoolError: others can write to the spool; the hint is the command that prevents that.
        """
        arguments.refuse_unknown(keys)
        given = {"command": command, "cwd": arguments.working_folder(cwd), **keys}
        document = {key: value for key, value in given.items() if value is not None}
        document.setdefault("command", command)  # None is refused by its type, not as a key that is missing
        [job_id] = self.enqueue_many([document], allow_missing=allow_missing)
        return job_id

    def enqueue_many(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        told: Callable[[str, int], None] = lambda _what, _number: None,
        allow_missing: bool = False,
    ) -> list[JobId]:
        """Put many jobs into the spool, each a mapping with the keys of a job file; return their ids in order.

        Values may have the types that `enqueue` takes, and a job may wait (`after`) for another one of the same call
        that has an id. All jobs are checked first: if one is invalid or a duplicate, nothing is written. With more than
        1,000, `told` gets `checked` or `put in` and a number now and then.

        Raises:
            As `enqueue`; if there are several documents, an InvalidJobError says which one.
            TypeError: `documents` is one job or a text instead of several jobs.
        """
        if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
            raise TypeError(f"documents: expected a list of mappings, not {type(documents).__name__}")
        return self.enqueue_documents(documents, told=told, made=arguments.document, allow_missing=allow_missing)

    def enqueue_documents(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        told: Callable[[str, int], None] = lambda _what, _number: None,
        made: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda document: document,
        allow_missing: bool = False,
        name: str = "flow",
    ) -> list[JobId]:
        """Put many jobs into the spool, as `enqueue_many`, but take only values that a job file may hold.

        `made` turns each item into the document of a job. If jobs name each other by `ref` or `*`, their ids begin
        with `name`. Raises as `enqueue`.
        """
        from queuectl.jobs import submission

        listed = documents if isinstance(documents, list) else list(documents)
        with self._translated():
            ids = submission.submit(
                self._producer, listed, told=told, made=made, allow_missing=allow_missing, name=name
            )
        return [each if isinstance(each, JobId) else JobId(each) for each in ids]

    # ---------------------------------------------------------------------------------------------------- wait

    def wait(self, *job_ids: str, first: bool = False, timeout: float | str | None = None) -> list[Ending]:
        """Wait until jobs have ended, and return their ends in the order in which the method saw them.

        A job has ended when it is in done/ or dlq/; a job that waits for a retry has not. With `first`, wait for one
        end only; the list holds every end seen by then. The beginning of an id is enough, as for `resolve`. `timeout`
        is a duration, or None for no limit. Each look costs two stats per job, or with many jobs a listing of done/ and
        dlq/: 50 looks in the first second, then fewer, at last one per second.

        Raises:
            UnknownJobError, AmbiguousIdError: there is no such job, or it was deleted meanwhile.
            QueuectlError: the file of a job was rejected.
            DamagedRecordError: the record of a job that ended is torn.
            WaitTimeoutError: the time is up; `ended` and `left` list the jobs that have ended and those that have not.
        """
        from queuectl.monitor import results
        from queuectl.monitor import wait as waits

        limit_s = None if timeout is None else arguments.duration("timeout", timeout)
        ids = [self.resolve(arguments.text("job_ids", job_id)) for job_id in job_ids]
        waiting = waits.Wait(self.session, [results.id_at_end(self.session, job_id) for job_id in ids])
        if not waiting.until_ended(first=first, limit_s=limit_s):
            raise WaitTimeoutError(waiting.left, ended=list(waiting.ended.values()))
        return list(waiting.ended.values())

    # ---------------------------------------------------------------------------------------------------- look

    def get(self, job_id: str) -> Job:
        """Return the job with this id.

        Raises:
            UnknownJobError: there is no job with this id.
            DamagedRecordError: its file is not a whole record.
        """
        from queuectl.spool import lookup

        return lookup.get(self.session, arguments.text("job_id", job_id))

    def pick(self, typed: str) -> Job:
        """Return a job by its id, by the beginning of its id, or by its file: `done/job1` or `done/job1.json`.

        If two jobs have the same id, name the file.

        Raises:
            AmbiguousIdError, UnknownJobError: as `resolve`.
            DamagedRecordError: its file is not a whole record.
        """
        from queuectl.spool import lookup

        return lookup.pick(self.session, arguments.text("typed", typed))

    def resolve(self, prefix: str) -> str:
        """Return the full id for an id or the beginning of one, ignoring case.

        A job with exactly this id comes first; otherwise exactly one id must begin with `prefix`.

        Raises:
            AmbiguousIdError: several ids begin with `prefix`.
            UnknownJobError: no id begins with `prefix`; the hint names similar ids.
        """
        from queuectl.spool import lookup

        return lookup.resolve(self.session, arguments.text("prefix", prefix))

    def load(self, state: str, name: str) -> Job:
        """Return the job in the file `name` of a state's folder, also if it is a drop that no worker has read yet.

        Raises:
            DamagedRecordError: the file is not a job.
            FileNotFoundError: there is no such file.
        """
        from queuectl.spool import lookup

        return lookup.load(self.session, state, name)

    def group(self, token: str) -> GroupCounts:
        """Count the jobs of a group by state: their ids begin with `token` and a dash, as the jobs of one file do.

        The id of one of its jobs is as good as the token. List each folder once and open no file. All counts are 0 if
        there is no such group.
        """
        from queuectl.spool import groups

        text = arguments.text("token", token)
        with self._translated():
            return groups.counts(self.folder, groups.token_of(text) or text)

    def jobs(self, state: str, *, group: str = "") -> Iterator[Job]:
        """Return the jobs in a state, ordered by file name (generated ids: oldest first); of one group, if named.

        Skip files that are not jobs (yet) and jobs that move on meanwhile.

        Raises:
            ValueError: there is no such state. Raised at once, not at the first job.
        """
        from queuectl.spool import lookup

        return lookup.jobs(self.session, arguments.text("state", state), group=arguments.text("group", group))

    def counts(self) -> Counts:
        """Count the jobs in each state. List each folder once and open no file."""
        from queuectl.spool import lookup

        with self._translated():
            return lookup.counts(self.session)

    # -------------------------------------------------------------------------------------------------- change

    def requeue(self, job_id: str, *, by: str = "api") -> Job:
        """Run a dead or finished job again. It gets all of its retries back and keeps its history.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: the job is waiting or running already.
            SpoolUnavailableError: a worker holds the job for too long, or the disk refuses.
        """
        from queuectl.jobs.requeue import requeue

        return requeue(self.session, arguments.text("job_id", job_id), by=arguments.text("by", by))

    def held(self, job_id: str) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that locks the stripe of an id: nobody else claims, rescues or deletes the job."""
        from queuectl.spool import stripes

        return stripes.held(self.session, arguments.text("job_id", job_id))

    def cancel(self, job_id: str, *, by: str = "api", reason: str = "") -> Job:
        """End a job: a waiting job at once, a running job together with everything that its command started.

        Return once the job is in dlq/, marked as cancelled. `requeue` runs it again.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: the job has ended already.
            SpoolUnavailableError: the command did not end in time (a worker still ends it), or the disk refuses.
        """
        from queuectl.jobs.cancel import Canceller

        for name, value in (("job_id", job_id), ("by", by), ("reason", reason)):
            arguments.text(name, value)
        return Canceller(self.session).cancel(job_id, by=by, reason=reason)

    def hold(self, job_id: str) -> Job:
        """Keep a waiting job from starting until `release`. The name of its file gets the flag `hold`.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: the job is not waiting.
            SpoolUnavailableError: a worker holds the job for too long, or the disk refuses.
        """
        from queuectl.jobs.hold import hold

        return hold(self.session, arguments.text("job_id", job_id))

    def release(self, job_id: str) -> Job:
        """Release a held job: it runs when it is due. Release a job that waits for others, or is dead because of one of
        them, from its parents. Raises as `hold`.
        """
        from queuectl.jobs.hold import release

        return release(self.session, arguments.text("job_id", job_id))

    def pause(self, reason: str = "", *, until_at: float | datetime | None = None, queue: str = "") -> None:
        """Start nothing new in this spool, or in `queue`, until `resume` or the instant `until_at`. Running jobs go on.

        Raises:
            ValueError: `until_at` is a `datetime` without a time zone, or outside the years 1970 to 9999; `queue` is
                not the name of a queue.
            SpoolUnavailableError: the disk refuses.
        """
        from queuectl.spool import pause

        arguments.text("reason", reason)
        end_at = None if until_at is None else arguments.instant("until_at", until_at)
        with self._translated("a folder named {name} already pauses {what}"):
            pause.pause(self.folder, reason, until_at=end_at, queue=arguments.queue(queue))

    def resume(self, queue: str = "") -> bool:
        """End a pause of the spool, or of a queue. Return False if it was not paused. Raises as `pause`."""
        from queuectl.spool import pause

        with self._translated("{what} stays paused because of a folder named {name}"):
            return pause.resume(self.folder, arguments.queue(queue))

    def purge(self, job_id: str) -> None:
        """Delete a dead or finished job and its logs permanently.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: the job is waiting or running.
            SpoolUnavailableError: a worker holds the job for too long, or the disk refuses.
        """
        from queuectl.jobs.purge import purge

        purge(self.session, arguments.text("job_id", job_id))

    def logs(self, job_id: str) -> list[str]:
        """Return the paths of a job's logs, first attempt first."""
        return self.folder.listed_logs(arguments.text("job_id", job_id))

    def result(self, job_id: str) -> str | None:
        """Return the path of the result of a job's newest attempt, or None without one."""
        from queuectl.monitor.results import result_of

        return result_of(self.session, self.get(job_id))

    def result_content(self, job_id: str) -> Any:
        """Return what a job's newest attempt gave back: the value of a JSON text, else the text, at most 64 KiB.

        Return None without a result, and for one that is longer or no text: `result` has its path. Raises as `get`.
        """
        from queuectl.monitor.results import content_of

        path = self.result(job_id)
        return None if path is None else content_of(path)

    def progress(self, job_id: str) -> Progress | None:
        """Return what the command of a running job said last about its progress, `percent` and `text`, else None."""
        from queuectl.monitor.progress import of_job

        return of_job(self.folder, arguments.text("job_id", job_id))

    @contextlib.contextmanager
    def _translated(self, if_folder: str = "") -> Iterator[None]:
        """Raise SpoolUnavailableError instead of an OSError; `if_folder` says what a folder named PAUSED means."""
        try:
            yield
        except OSError as error:
            from queuectl.spool import access

            if if_folder and isinstance(error, IsADirectoryError):
                raise access.paused_by_folder(str(error.filename), if_folder) from error
            raise access.unavailable(self.folder, error) from error
