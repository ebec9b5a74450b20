"""Say whether queuectl can keep its promises on this spool: look up known facts, and test the rest.

It changes nothing in the queue: the tests (`probes`) use a scratch folder in tmp/ that is removed afterwards, and take
no lock of a running pool. A spool that cannot be written, read or trusted is a line, not an error.
"""

from __future__ import annotations

import errno
import os
import platform
import random
import sys
from collections.abc import Callable, Iterator, Mapping

from queuectl.errors import InvalidSettingsError, SpoolUnavailableError, UntrustedSpoolError
from queuectl.inbox.state import read_all
from queuectl.inbox.trust import PARTS
from queuectl.maintenance import ownership, probes
from queuectl.maintenance.probes import FAIL, OK, WARN, Bench, Line, Probe
from queuectl.model import names
from queuectl.model.lifecycle import PENDING
from queuectl.model.settings import SETTINGS_NAME
from queuectl.monitor import inboxes
from queuectl.spool import blame, clock_note, settings_file, trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS
from queuectl.system import disk, volume
from queuectl.system.clock import Clock
from queuectl.system.volume import LOCAL, MEMORY, NETWORK, REMOVABLE, SHARED, UNKNOWN, USERSPACE, Space, Volume

OLDEST_PYTHON = (3, 11)
_MB, _GB = 1024**2, 1024**3
# Below the first limit nothing works any more; below the second a person should look.
_FAIL_BYTES, _WARN_BYTES = 4 * _MB, 500 * _MB
_FAIL_FILES, _WARN_FILES = 100, 10_000
# A large disk that is nearly full still has room for many jobs, so the share alone would warn too early.
_WARN_SHARE, _WARN_SHARE_BYTES = 0.05, 5 * _GB
# Files that a pool has open besides its workers (the 64 stripes, the watch, the streams), and for each worker.
_FILES_OF_A_POOL, _FILES_A_WORKER = 90, 3
_FEWEST_WORKERS = 50

# If one of these fails, two workers may run one job.
_NEEDED = ("create", "rename", "locks")

_NATURES = {
    NETWORK: (
        "a network file system",
        "keep a spool with workers on a local disk; producers may write over the network",
    ),
    USERSPACE: (
        "a file system in user space (FUSE)",
        "make sure that rename, fsync and locks below are ok, or use a local disk",
    ),
    REMOVABLE: ("a removable disk", "stop the workers before you remove it: queuectl worker stop"),
    MEMORY: ("in memory", "a restart deletes all jobs; put the spool on a disk to keep them"),
    SHARED: (
        "a folder shared from the host machine",
        "put the spool on this machine's own disk: locks and events often do not work on a shared folder",
    ),
}


def examine(spool: SpoolDir, *, clock: Clock, rng: random.Random, environment: Mapping[str, str]) -> Iterator[Line]:
    """Yield each line as soon as it is known.

    Args:
        spool: a spool; it may be damaged, read-only or somebody else's.
        clock: the clock to compare with the file system's time.
        rng: the source of the scratch folder's name.
        environment: the variables in which sync clients name their folders.
    """
    yield python_line()
    yield user_line()
    yield folders_line(spool)
    yield settings_line(spool)
    yield trust_line(spool)
    yield stripes_line(spool)
    yield from inbox_lines(spool)
    yield from trusted_settings_lines(spool)
    yield volume_line(volume.of(spool.root))
    yield sync_line(volume.sync_client(spool.root, environment))
    yield one_file_system_line(spool)
    yield _looked_up("space", lambda: space_line(volume.space(spool.root)))
    yield files_line(_open_files())
    yield from retention_lines(spool, now_at=clock.now())
    yield from _tried_out(spool, clock, rng)


def before_start(spool: SpoolDir, *, clock: Clock, rng: random.Random) -> list[Line]:
    """Return the lines that a pool needs before it starts: none on a local disk.

    On a network file system or one in user space, return its kind, and whether everything that two workers rely on
    works there (a FAIL means that they would run one job twice).
    """
    found = volume.of(spool.root)
    if found.nature not in (NETWORK, USERSPACE, SHARED):
        return []
    needed = tuple(probe for probe in probes.PROBES if probe.name in _NEEDED)
    return [volume_line(found), *_tried_out(spool, clock, rng, needed)]


def worst(lines: list[Line]) -> str:
    """Return the worst level of the lines: FAIL, WARN or OK."""
    levels = {line.level for line in lines}
    return FAIL if FAIL in levels else WARN if WARN in levels else OK


def _tried_out(
    spool: SpoolDir, clock: Clock, rng: random.Random, wanted: tuple[Probe, ...] = probes.PROBES
) -> Iterator[Line]:
    folder = spool.tmp_path(f"doctor.{os.getpid()}-{names.new_token(rng, 8)}")
    try:
        try:
            disk.make_folder(folder)
            disk.create(os.path.join(folder, "write"), b"x", sync=False)
        except OSError as error:
            yield _not_writable(spool, error)
            return
        yield Line("write", OK, "files can be created")
        for probe in wanted:
            yield probes.run(probe, Bench(folder, clock))
    finally:
        gone = _remove(folder)
    yield gone


def _remove(folder: str) -> Line:
    try:
        disk.remove_tree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        return Line("cleanup", WARN, f"cannot delete {folder}: {error.strerror or error}", "delete it by hand")
    return Line("cleanup", OK, "all test files are deleted again")


def _not_writable(spool: SpoolDir, error: OSError) -> Line:
    text = f"no file can be created in {spool.tmp_dir}: {error.strerror or error}; no further test is possible"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Line("write", FAIL, text, "free some space on the disk, or raise the quota")
    if error.errno == errno.EROFS:
        return Line("write", FAIL, text, "mount the file system writable, or put the spool elsewhere")
    return Line("write", FAIL, text, "run queuectl as the user who owns the spool, or give this user the folder")


def _looked_up(name: str, look: Callable[[], Line]) -> Line:
    try:
        return look()
    except OSError as error:
        return Line(name, WARN, f"cannot be determined: {error.strerror or error}")


# ------------------------------------------------------------------------------------------------- program and user


def python_line(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Line:
    """Report whether queuectl is tested with this Python."""
    shown = ".".join(str(part) for part in version)
    text = f"Python {shown} on {platform.system()} {platform.release()} {platform.machine()}".rstrip()
    if version < OLDEST_PYTHON:
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        return Line("python", FAIL, text, f"queuectl needs Python {oldest} or later", {"python": shown})
    return Line("python", OK, text, measured={"python": shown})


def user_line() -> Line:
    """Report the user that jobs run as."""
    if not hasattr(os, "geteuid"):
        return Line("user", OK, "jobs run as the user who starts the workers")
    uid = os.geteuid()
    if uid == 0:
        hint = "give the spool to a user of its own (chown -R) and start the workers as that user"
        return Line("user", WARN, "you are root, so every job would run as root", hint, {"uid": uid})
    return Line("user", OK, f"jobs would run as user {trust.user_name(uid)}", measured={"uid": uid})


# ----------------------------------------------------------------------------------------------------------- folder


def folders_line(spool: SpoolDir) -> Line:
    """Report whether all folders exist; create missing ones, because the tests write."""
    missing = [folder for folder in FOLDERS if not os.path.isdir(os.path.join(spool.root, folder))]
    try:
        spool.make_folders()
    except SpoolUnavailableError as error:
        return Line("folders", FAIL, f"missing and cannot be created: {', '.join(missing)}: {error.cause}", error.hint)
    if missing:
        return Line("folders", OK, f"created the missing ones: {', '.join(missing)}")
    return Line("folders", OK, f"all folders exist in {spool.root}")


def settings_line(spool: SpoolDir) -> Line:
    """Report whether workers would start with the settings file."""
    try:
        settings_file.load(spool)
    except InvalidSettingsError as error:
        return Line("settings", FAIL, str(error), error.hint)
    except SpoolUnavailableError as error:
        return Line("settings", FAIL, f"{error}: {error.cause}", "give the workers' user read access")
    if not os.path.lexists(spool.settings_path):
        text = f"there is no {SETTINGS_NAME}; the defaults apply"
        return Line("settings", WARN, text, f'queuectl init "{spool.root}"  creates it')
    return Line("settings", OK, f"{SETTINGS_NAME} is valid")


def retention_lines(spool: SpoolDir, *, now_at: float) -> Iterator[Line]:
    """Report retention that waits for the clock; yield no line if it does not wait."""
    if text := clock_note.waiting(spool, now_at=now_at):
        yield Line("retention", WARN, text, "correct the clock, or accept it: queuectl check --repair")


def trust_line(spool: SpoolDir) -> Line:
    """Report whether only this user can make workers run commands (promise P10)."""
    if os.name == "nt":
        text = "anyone who can write to the folder can run commands; doctor does not check its access list"
        return Line("trust", OK, text, f'icacls "{spool.root}"  shows the access list')
    try:
        trust.check(spool)
    except UntrustedSpoolError as error:
        return Line("trust", FAIL, f"{error.path}: {error.cause}", error.hint)
    except OSError as error:
        return Line("trust", FAIL, f"{error.filename}: {error.strerror}", "run queuectl as the user who owns the spool")
    who, hint = trust.way_to(spool)
    if who:
        return Line("trust", WARN, who, f"move the spool to a folder of your own, or: {hint}")
    return Line("trust", OK, "no other user can write to the spool")


def stripes_line(spool: SpoolDir) -> Line:
    """Report whether every lock file of the stripes can be opened. Locks none of them."""
    try:
        closed = list(ownership.closed_stripes(spool, lock=False))
    except OSError as error:
        return Line("stripes", FAIL, f"{error.filename}: {error.strerror}", "run queuectl as the spool's owner")
    if not closed:
        return Line("stripes", OK, "every lock file of the jobs can be opened")
    number, why = closed[0]
    path = spool.stripe_path(number)
    text = f"{len(closed)} of {names.STRIPE_COUNT} lock files cannot be opened, so their jobs do not run: {path}"
    return Line("stripes", FAIL, f"{text}: {why.strerror or why}", blame.cure(why, path) or "queuectl check")


def trusted_settings_lines(spool: SpoolDir) -> Iterator[Line]:
    """Report whether inboxes, keys and commands let other users do only what the settings allow."""
    try:
        settings = settings_file.load(spool)
    except (InvalidSettingsError, SpoolUnavailableError):
        return  # `settings_line` reports it
    counts = {
        "inboxes": len(settings.inboxes),
        "keys": sum(bool(inbox.keys) for inbox in settings.inboxes),
        "commands": len(settings.commands),
    }
    texts = {
        "inboxes": "other users can do only what the mode of each inbox allows",
        "keys": "only this user can read them",
        "commands": "only this user can change the programs that they start",
    }
    for name, check_part in PARTS.items():
        if not counts[name]:
            continue
        try:
            check_part(spool, settings)
        except UntrustedSpoolError as error:
            yield Line(name, FAIL, f"{error.path}: {error.cause}", error.hint)
        except InvalidSettingsError as error:
            yield Line(name, FAIL, str(error), error.hint)
        except OSError as error:
            yield Line(name, FAIL, f"{error.filename}: {error.strerror}", "give the workers' user access to it")
        else:
            unjudged = "; doctor does not check access lists on Windows" if os.name == "nt" else ""
            yield Line(name, OK, texts[name] + unjudged)


# ------------------------------------------------------------------------------------------------------ file system


def inbox_lines(spool: SpoolDir) -> Iterator[Line]:
    """Yield a line for each inbox from its last published state, because reading the inbox itself may hang."""
    for state in read_all(spool):
        seen = f"; listed {state.listed_at}" if state.listed_at else ""
        text = f"inbox {state.owner}, {state.path}: {inboxes.sentence(state)}{seen}"
        if state.trouble:
            yield Line(
                f"inbox {state.owner}",
                WARN,
                text,
                "create the folder or mount it; the receiver continues automatically",
            )
        else:
            yield Line(f"inbox {state.owner}", OK, text)


def volume_line(found: Volume) -> Line:
    """Report the file system by name, and known problems of its kind."""
    measured = {"file_system": found.kind, "mounted_at": found.where, "nature": found.nature}
    name = f"{found.kind or 'a file system of unknown type'}{f' at {found.where}' if found.where else ''}"
    if found.nature in _NATURES:
        words, hint = _NATURES[found.nature]
        return Line("file_system", WARN, f"{name}: {words}", hint, measured)
    if found.nature == UNKNOWN:
        return Line("file_system", WARN, name, "the tests below show what it supports", measured)
    if found.kind == "overlay":
        return Line("file_system", OK, f"{name}: belongs to the container and is deleted with it", measured=measured)
    assert found.nature == LOCAL
    return Line("file_system", OK, name, measured=measured)


def sync_line(client: str) -> Line:
    """Report whether a sync client moves, locks and duplicates the files here."""
    if not client:
        return Line("sync", OK, "not in a folder of a known sync client")
    text = f"in a folder of {client}, which keeps files open, adds copies and would run jobs on other machines, too"
    return Line("sync", WARN, text, "put the spool outside of that folder", {"client": client})


def one_file_system_line(spool: SpoolDir) -> Line:
    """Report whether a rename works between any two folders."""
    nothing = os.path.join(spool.tmp_dir, "doctor.nothing")
    try:
        home = os.stat(spool.root).st_dev
        for folder in FOLDERS:
            path = os.path.join(spool.root, folder)
            if os.stat(path).st_dev != home:
                return _apart(path)
            try:
                # The file does not exist: Linux checks the mounts first, so a bind mount shows and nothing moves.
                disk.move(nothing, os.path.join(path, "doctor.nothing"))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return _apart(path)
    except OSError as error:
        return Line("one_file_system", FAIL, f"{error.filename}: {error.strerror}", "create the missing folder")
    return Line("one_file_system", OK, "all folders are on the same file system")


def _apart(path: str) -> Line:
    text = f"{path} is on a different file system, but jobs move by rename, which works only within one"
    return Line("one_file_system", FAIL, text, "put the whole spool on one file system, without mounts inside")


def space_line(found: Space) -> Line:
    """Report whether there is room for more jobs."""
    share = found.free_bytes / found.total_bytes if found.total_bytes else 1.0
    text = f"{_size(found.free_bytes)} free ({share:.0%})"
    if found.free_files is not None:
        text += f", room for {found.free_files:,} files"
    measured = {"free_bytes": found.free_bytes, "total_bytes": found.total_bytes, "free_files": found.free_files}
    room = _WARN_FILES if found.free_files is None else found.free_files
    hint = "free space: lower keep_done and keep_dlq to keep jobs for less time; queuectl dlq purge deletes dead jobs"
    if found.free_bytes < _FAIL_BYTES or room < _FAIL_FILES:
        return Line("space", FAIL, f"the disk is full: {text}", hint, measured)
    tight = found.free_bytes < _WARN_BYTES or (share < _WARN_SHARE and found.free_bytes < _WARN_SHARE_BYTES)
    if tight or room < _WARN_FILES:
        return Line("space", WARN, f"the disk is nearly full: {text}", hint, measured)
    return Line("space", OK, text, measured=measured)


def _size(number: int) -> str:
    return f"{number / _GB:.1f} GB" if number >= _GB else f"{number / _MB:.0f} MB"


# ---------------------------------------------------------------------------------------------------------- limits


def files_line(limit: int | None) -> Line:
    """Report whether a pool may open as many files as it needs; None means no limit."""
    if limit is None:
        return Line("open_files", OK, "no limit on open files")
    workers = max(0, (limit - _FILES_OF_A_POOL) // _FILES_A_WORKER)
    measured = {"limit": limit, "workers": workers}
    text = f"a process may open {limit:,} files"
    if workers < 1:
        return Line("open_files", FAIL, f"{text}: too few for a pool", "ulimit -n 1024", measured)
    if workers < _FEWEST_WORKERS:
        return Line("open_files", WARN, f"{text}: enough for {workers} workers in a pool", "ulimit -n 1024", measured)
    return Line("open_files", OK, text, measured=measured)


def _open_files() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft in (resource.RLIM_INFINITY, -1) else soft


def is_spool(spool: SpoolDir) -> bool:
    """Whether the folder is a spool to examine: it has settings, or pending/."""
    return os.path.isfile(spool.settings_path) or os.path.isdir(spool.folder(PENDING))
