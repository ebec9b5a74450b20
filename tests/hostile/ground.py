"""A spool with hostile files in it: putting them there, and judging what became of each."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.spool import batch, create
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import BOARD, README_TXT, REASON_ENDING
from tests.helpers import names_in
from tests.hostile.corpus import Alone, Case, Rejected, Runs, Splits, Waits

FOLDERS = (PENDING, RUNNING, DONE, DLQ, REJECTED)
# Content is compared up to this size; of larger files the size and the time say whether they were written to.
_COMPARED_BYTES = 4 * 1024 * 1024


class Print(NamedTuple):
    """What must not change of a file: what it is, its size, when it was written, and its content."""

    inode: int
    mode: int
    size: int
    mtime_ns: int
    digest: str


def fingerprint(path: Path) -> Print:
    """The print of whatever lies at `path`."""
    info = path.lstat()
    digest = ""
    if stat.S_ISLNK(info.st_mode):
        digest = os.readlink(path)
    elif stat.S_ISREG(info.st_mode) and info.st_size <= _COMPARED_BYTES and os.access(path, os.R_OK):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    return Print(info.st_ino, info.st_mode, size, info.st_mtime_ns, digest)


class Ground:
    """A spool, the folder that its jobs run in, and the hostile files that were put into it."""

    def __init__(self, root: Path, spool: SpoolDir) -> None:
        self.spool = spool
        self.work = root / "work"
        self.work.mkdir(exist_ok=True)
        self.prints: dict[str, Print] = {}
        self.cases: list[Case] = []

    def put(self, cases: Iterable[Case], *, mtime_at: float | None = None) -> None:
        """Make the files of these cases; those at rest get an old time, so that retention looks at them."""
        for case in cases:
            path = self.path(case)
            case.make(path)
            if mtime_at is not None and case.folder in (DONE, DLQ):
                os.utime(path, (mtime_at, mtime_at), follow_symlinks=False)
            self.cases.append(case)
        for case in self.cases:
            self.prints[case.name] = fingerprint(self.path(case))

    def path(self, case: Case) -> Path:
        """Where a case's file was put."""
        return Path(self.spool.path(case.folder, case.file))

    def drop(self, name: str, content: object) -> None:
        """Drop a good job as a careful program does: under another name first."""
        path = Path(self.spool.path(PENDING, name))
        path.with_name(f".{name}").write_text(json.dumps(content))
        path.with_name(f".{name}").rename(path)

    # ------------------------------------------------------------------------------------------------------ judging

    def unsettled(self) -> list[str]:
        """What still lies in pending/ and running/, or waits to be split, and has somewhere to go."""
        stay = {self.prints[case.name].inode for case in self.cases if isinstance(case.expect, Alone)}
        stay_ids = {case.expect.job_id for case in self.cases if isinstance(case.expect, Waits)}
        left = batch.unfinished(self.spool)  # first: what they are split into is in pending/ before they are done
        for folder in (PENDING, RUNNING):
            for entry in os.scandir(self.spool.folder(folder)):
                if entry.name == README_TXT:
                    continue
                waits = ",due=" in entry.name and entry.name.partition(",")[0] in stay_ids
                if entry.inode() not in stay and not waits:
                    left.append(f"{folder}/{entry.name}")
        return left

    def complaints(self) -> list[str]:
        """One line for each case that did not end as it must, and for whatever else broke a promise."""
        seen = Seen(self)
        found = [f"{case.name}: {wrong}" for case in self.cases if (wrong := seen.judge(case))]
        if (self.work / "canary").exists():
            found.append("a command ran that must never run")
        for name in names_in(self.spool, REJECTED):
            if name.endswith(REASON_ENDING):
                found += _bad_text(name, Path(self.spool.path(REJECTED, name)).read_text("utf-8"))
        ours = (os.path.basename(self.spool.schema_path), *BOARD)
        parts = [part for part in os.listdir(self.spool.root) if part not in ours]
        found += [f"outside: {part}" for part in parts if part.endswith((".json", ".log"))]
        return found


def _bad_text(name: str, text: str) -> list[str]:
    """What is wrong with a reason: it must say why, on its line, in characters that do nothing."""
    lines = text.split("\n")
    found = [] if any(line.startswith("Why:   ") and len(line) > 10 for line in lines) else [f"{name!r} says not why"]
    if len(lines) > 12 or not all(line.isprintable() or "\ufffd" in line for line in lines):
        found.append(f"{name!r} holds what could deceive: {text!r}")
    return found


class Seen:
    """One look at the whole spool."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.spool = ground.spool
        self.by_inode: dict[int, list[Path]] = {}
        for folder in (*(self.spool.folder(state) for state in FOLDERS), self.spool.taken_dir):
            for entry in os.scandir(folder):
                self.by_inode.setdefault(entry.inode(), []).append(Path(entry.path))
        ran = ground.work / "ran"
        self.ran = Counter(ran.read_text().split("\n") if ran.exists() else [])
        self.dropped: dict[str, Path] = {}
        self.made: dict[str, list[Path]] = {}
        own = {ground.path(case) for case in ground.cases}
        for state in (DONE, DLQ):
            for name in self.spool.job_names(state):
                path = Path(self.spool.path(state, name))
                if path not in own:
                    self._note(path)

    def _note(self, path: Path) -> None:
        try:
            first = json.loads(path.read_bytes())["history"][0]
        except (ValueError, LookupError, OSError):
            return
        if first.get("file"):
            self.dropped[first["file"]] = path
        if first.get("batch"):
            self.made.setdefault(first["batch"].partition("#")[0], []).append(path)

    def judge(self, case: Case) -> str:
        """What is wrong with the end of a case, or ""."""
        expect = case.expect
        if isinstance(expect, Alone):
            return self._unchanged(case, self.ground.path(case))
        if isinstance(expect, Rejected):
            return self._judge_rejected(case, expect)
        if isinstance(expect, Runs):
            return self._judge_run(case, expect)
        if isinstance(expect, Splits):
            return self._judge_split(case, expect)
        waiting = [name for name in self.spool.waiting_names() if name.startswith(f"{expect.job_id},due=")]
        return "" if len(waiting) == 1 else f"does not wait: {self._where(case)}"

    def _where(self, case: Case) -> str:
        paths = self.by_inode.get(self.ground.prints[case.name].inode, [])
        reasons = [Path(f"{path}{REASON_ENDING}") for path in paths if path.parent.name == REJECTED]
        texts = [text.read_text("utf-8").split("\n")[2] for text in reasons if text.exists()]
        return f"{[f'{path.parent.name}/{path.name}' for path in paths]} {texts}"

    def _unchanged(self, case: Case, path: Path) -> str:
        if not os.path.lexists(path):
            return f"is gone from {path}: {self._where(case)}"
        now, before = fingerprint(path), self.ground.prints[case.name]
        if str(path).startswith(self.spool.taken_dir):  # a file of jobs from then on, and closed to others as these are
            before = before._replace(mode=stat.S_IFMT(before.mode) | 0o600)
        return "" if now == before else f"was changed: {path}"

    def _judge_rejected(self, case: Case, expect: Rejected) -> str:
        found = [p for p in self.by_inode.get(self.ground.prints[case.name].inode, []) if p.parent.name == REJECTED]
        if len(found) != 1:
            return f"is not in rejected/: {self._where(case)}"
        try:
            text = Path(f"{found[0]}{REASON_ENDING}").read_text("utf-8")
        except FileNotFoundError:
            return "has no reason beside it"
        why = next((line for line in text.split("\n") if line.startswith("Why:")), "")
        return self._unchanged(case, found[0]) or ("" if expect.why in why else f"other reason: {why}")

    def _judge_run(self, case: Case, expect: Runs) -> str:
        job_id = expect.job_id or case.file.removesuffix(".json")
        if job_id.endswith("*"):
            job_id = next((i for i in self.ran if i.startswith(job_id[:-1])), job_id)
        path = Path(self.spool.path(expect.state, f"{job_id}.json"))
        if expect.job_id == "?":
            text = os.fsencode(case.file).decode("utf-8", "backslashreplace")
            # A pool that puts drops in order gives x.JSON the name that every job's file has, and notes no other.
            stem = case.file[: -len(".json")] if case.file.lower().endswith(".json") else case.file
            path = self.dropped.get(text, Path(self.spool.path(expect.state, f"{stem}.json")))
            job_id = path.name.removesuffix(".json")
            if names.why_bad_id(job_id):
                return f"did not end as a job: {self._where(case)}"
        if not path.exists():
            return f"is not in {expect.state}/ as {job_id}: {self._where(case)}"
        if self.ran[job_id] != int(expect.ran):
            return f"ran {self.ran[job_id]} times"
        if expect.copied:
            kept = case.file.removesuffix(".json") + ".torn.json"
            reason = Path(self.spool.reason_path(kept))
            if not Path(self.spool.path(REJECTED, kept)).exists() or expect.copied not in reason.read_text():
                return "no copy of it was kept"
        return ""

    def _judge_split(self, case: Case, expect: Splits) -> str:
        taken = [p for p in self.by_inode.get(self.ground.prints[case.name].inode, []) if p.name.endswith(".done")]
        if len(taken) != 1:
            return f"was not split: {self._where(case)}"
        token = taken[0].name.partition(".")[0]
        made = self.made.get(token, [])
        refused = [
            name
            for name in names_in(self.spool, REJECTED)
            if name.startswith(f"{token}-") and name.endswith(REASON_ENDING)
        ]
        if (len(made), len(refused)) != (expect.jobs, expect.refused):
            return f"{len(made)} jobs and {len(refused)} refused"
        if any(self.ran[path.name.removesuffix(".json")] != 1 for path in made):
            return "a job of it did not run once"
        return self._unchanged(case, taken[0])


def make_ground(root: Path, **settings: str) -> Ground:
    """A new spool under `root`, with these settings."""

    spool = SpoolDir(root / "spool")
    create.create(spool)
    path = Path(spool.settings_path)
    lines = [line for line in path.read_text().split("\n") if line.partition(" ")[0] not in settings]
    path.write_text("\n".join(lines + [f"{key} = {value}" for key, value in settings.items()]) + "\n")
    return Ground(root, spool)
