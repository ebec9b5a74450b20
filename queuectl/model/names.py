"""Makes and parses job ids and the names of job files. Computes only.

A job file is `ID.json` in every state folder. The name of a waiting job has flags, as in maildir, if it is not simply
next: `ID,due=20261124T031500Z.json`, `ID,prio=9.json`, its owner: `ID,by=anna.json`, and its queue and key:
`ID,q=mail,key=berlin.json`. If the id does not contain the time of arrival, a flag does:
`ID,in=20261125T001500.123456Z.json`. A job that waits for another one is `ID,after=PARENT.json`. The name is a hint,
so that one listing gives the order of runs; the record is the truth.
"""

from __future__ import annotations

import functools
import random
import re
import sys
import zlib
from typing import NamedTuple

from queuectl.model import times

ID_MAX_CHARS = 100
OWNER_MAX_CHARS = 32
# The longest file name that every system accepts.
NAME_MAX_BYTES = 255
# Never change this: stripes are permanent files, and with another count two claims of one id would miss each other.
STRIPE_COUNT = 64

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ID_MAX_CHARS - 1}}}")
GENERATED = r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-z]{4}"
_GENERATED = re.compile(GENERATED)
SPLIT_AT_ONCE = 10_000
_GENERATED_CHARS = len("YYYYMMDD-HHMMSS-UUUUUU-TTTT.json")
_GENERATED_LINE = re.compile(rf"^{_GENERATED.pattern}\.json$", re.MULTILINE)
# Names without flags. No dot and no underscore in front of the ending, so that no name looks like that of an unfinished
# file (`_TEMPORARY`).
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}\.json")
# The usual names of jobs with an owner. No dot and no underscore in the owner, so that no name looks like that of an
# unfinished file; names of other owners are parsed in full.
_OWNED = re.compile(rf"({_GENERATED.pattern}),by=([A-Za-z0-9][A-Za-z0-9-]{{0,{OWNER_MAX_CHARS - 1}}})\.json")
# The names that `enqueue` gives to jobs with an id of their own; the same letters, for the same reason.
TIMED = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9-]{0,99}),in=(\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    r"T((?:[01]\d|2[0-3])[0-5]\d[0-5]\d)\.(\d{6})Z\.json"
)
# All other names that queuectl gives: their flags, in order. Again the letters are such that no name looks unfinished.
_FLAGGED = re.compile(
    rf"""([A-Za-z0-9][A-Za-z0-9-]{{0,99}})
    (?:,due=(\d{{8}}T\d{{6}}(?:\.\d+)?Z)
      |,in=(\d{{4}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))T((?:[01]\d|2[0-3])[0-5]\d[0-5]\d)\.(\d{{6}})Z)?
    (?:,prio=(-?\d{{1,6}}))?
    (?:,by=([A-Za-z0-9][A-Za-z0-9-]{{0,{OWNER_MAX_CHARS - 1}}}))?
    (?:,q=([a-z0-9][a-z0-9-]{{0,23}}))?
    (?:,key=([A-Za-z0-9][A-Za-z0-9-]{{0,31}}|[A-Za-z0-9-]{{0,15}}~[a-z2-7]{{16}}))?
    \.json""",
    re.VERBOSE,
)
# The usual names of jobs that wait for another one.
BLOCKED = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,99}),after=([A-Za-z0-9][A-Za-z0-9-]{0,99})\.json")
AFTER = ",after="
QUEUE_MAX_CHARS = 24
_QUEUE = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_KEY = re.compile(rf"{_PLAIN_KEY.pattern}|[A-Za-z0-9-]{{0,15}}~[a-z2-7]{{16}}")
_ARRIVED = re.compile(r"(\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))T((?:[01]\d|2[0-3])[0-5]\d[0-5]\d)\.(\d{6})Z")
_PRIORITY = re.compile(r"-?\d{1,6}")
_OWNER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{OWNER_MAX_CHARS - 1}}}")
_HELD = ",hold.json"
_MORE = re.compile(r"\.jsonl?[._~-]")
_DESKTOP = frozenset({"desktop.ini", "thumbs.db", ".ds_store", ".localized", ".directory", ".apdisk", "icon\r"})
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{kind}{digit}" for kind in ("com", "lpt") for digit in "0123456789¹²³"]
)
# On Windows, such a name always means the device: a file of that name cannot be opened, checked or deleted.
_HAS_DEVICES = sys.platform == "win32"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread

# Names that clients use for unfinished files and conflicting copies: they are never jobs and never touched (P11).
# These count as jobs: `job (1).json` (browsers, Google Drive), `job 2.json` (iCloud), `job-LAPTOP.json` (OneDrive).
_TEMPORARY = r"""^[.~\#]            # .x.json.Xyz12 rsync, .~lock Office, ~x.json, #x# Emacs
      | ~$                 # backups of editors
      | \.(tmp|temp|part|partial|crdownload|opdownload|download|filepart|!sync|!ut)$
      | \.(swp|swx|bak|orig|rej|lock|reason\.txt)$
      | \.sync-conflict-\d{8}-\d{6}            # Syncthing
      | _conflict-(?:.{1,64}-)?\d{8}-\d{6}     # ownCloud, before and after it named the user
      | \(.*conflicted\ copy.*\)                # Dropbox, Nextcloud
      | \([^()]*(?:\bconflict|\bcase\ clash\ from\ )[^()]*\)  # Dropbox "(Case Conflict 1)", Nextcloud, Tresorit
      | \[conflict(?:ed)?\b[^\]]*\]            # Google Drive, pCloud
      | \(SFConflict\ .*\)                     # Seafile
      | \.conflict\d*\.jsonl?$                 # rclone bisync with the ending kept, Resilio
      | _[a-z]{3}-\d\d-\d{6}-\d{4}_conflict\.  # Synology Drive: job_HOST_Nov-24-031500-2026_Conflict.json
      | \.(rclone|tmp)[A-Za-z0-9]*\.json$      # x.tmpAb12.json, written by tools that keep the ending
      | ^desktop\.ini$ | ^thumbs\.db$ | ^icon\r?$
    """


@functools.cache
def _temporary() -> re.Pattern[str]:
    """Return the pattern of such names, which takes a millisecond to compile. Few pools need it."""
    return re.compile(_TEMPORARY, re.VERBOSE | re.IGNORECASE)


class NameParts(NamedTuple):
    """The parts of the name of a waiting file: stem, due time (None: now), priority and owner ("": none).

    `arrived` is the stamp of the flag `in`, "" if there is none (see `stamp`). `queue` "" means the default queue, and
    `key` is as `key_flag` returns it, "" for none. `after` is the id of the job that it waits for, "" for none,
    and `needs` the resources that it needs, as `needs.flag` returns them.
    """

    stem: str
    due_at: float | None
    priority: int
    owner: str = ""
    arrived: str = ""
    queue: str = ""
    key: str = ""
    after: str = ""
    needs: str = ""


def ends_as_job(file_name: str) -> bool:
    """Return whether a name ends like a job's or a batch's file, in capitals or not (`JOB.JSON` from Windows)."""
    return file_name.endswith((".json", ".jsonl")) or file_name[-6:].lower().endswith((".json", ".jsonl"))


def why_bad_id(job_id: str) -> str:
    """Return the mistake in an id, as the end of a sentence, or "" for a valid id."""
    if is_generated(job_id):
        return ""
    if not job_id:
        return "is empty"
    if len(job_id) > ID_MAX_CHARS:
        return f"is longer than {ID_MAX_CHARS} characters"
    if not _ID.fullmatch(job_id):
        return "may contain only A-Z a-z 0-9 . _ - and must start with a letter or digit"
    if job_id.endswith("."):
        return "ends in a dot, which Windows drops from names"
    if is_device(job_id):
        return "is the name of a device on Windows"
    if is_temporary(f"{job_id}.json"):
        return "looks like the name of an unfinished file, which queuectl ignores"
    return ""


def is_device(stem: str) -> bool:
    """Return whether Windows opens a device for this stem (CON, NUL, COM1 ..., with any ending)."""
    return stem.split(".", 1)[0].rstrip(" ").lower() in _DEVICES


def opens_a_device(file_name: str) -> bool:
    """Return whether a name means a device on this system instead of a file (on Windows only)."""
    return _HAS_DEVICES and is_device(file_name)


def clean_id(stem: str) -> str:
    """Return the id for a dropped file without one: its stem, with `-` for characters that an id may not have."""
    if not why_bad_id(stem):
        return stem
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
    if is_device(cleaned):
        cleaned = f"job-{cleaned}"
    cleaned = cleaned[:ID_MAX_CHARS].rstrip("-._")
    return f"job-{zlib.crc32(stem.encode('utf-8', 'replace')):08x}" if why_bad_id(cleaned) else cleaned


def as_text(name: str) -> str:
    """Return a file's name for a JSON text: bytes that are not UTF-8 show as `\\xff`."""
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which Windows allows in names
        data = name.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")


def with_suffix(job_id: str, suffix: str) -> str:
    """Return an id with a suffix, for an id that is taken; never longer than the limit."""
    return f"{job_id[: ID_MAX_CHARS - 1 - len(suffix)].rstrip('.')}-{suffix}"


def beside(name: str, suffix: str = "", *, room: int = 0) -> str:
    """Return `name` with a suffix on its stem, cut so that `room` bytes are left in a file name."""
    stem, dot, ending = name.rpartition(".")
    head, comma, flags = stem.partition(",")
    rest = f"{suffix}{comma}{flags}{dot}{ending}"
    if _bytes_of(rest) > NAME_MAX_BYTES // 2:
        head, rest = stem, f"{suffix}{dot}{ending}"
    while head and _bytes_of(head + rest) > NAME_MAX_BYTES - room:
        head = head[:-1]
    return head + rest


def _bytes_of(name: str) -> int:
    """Return the length of a name on disk; a byte that is not UTF-8 (a lone surrogate here) counts as one."""
    return len(name.encode("utf-8", "replace"))


def new_token(rng: random.Random, length: int = 4) -> str:
    """Return some random letters and digits, to distinguish names made at the same instant."""
    return "".join(rng.choices(_ALPHABET, k=length))


def generate_id(now_at: float, rng: random.Random) -> str:
    """Return a new id that sorts by time to the microsecond: `20261124-031500-120345-7f3k`."""
    return f"{stamp(now_at)}-{new_token(rng)}"


def stamp(instant_at: float) -> str:
    """Return an instant to the microsecond, as generated ids begin: `20261124-031500-120345`. Stamps sort by time."""
    whole, rest = divmod(round(min(max(instant_at, 0.0), times.LATEST_AT) * 1_000_000), 1_000_000)
    return f"{times.second_to_stamp(whole)}-{rest:06d}"


def is_generated(stem: str) -> bool:
    """Return whether `generate_id` made an id: such files are published complete and need no check before a claim."""
    return _GENERATED.fullmatch(stem) is not None


def split_generated(listed: list[str]) -> tuple[list[str], list[str]]:
    """Split names of waiting files into plain generated ids and all others, each in the order given.

    Searches thousands of names at once: a million take 0.2 s instead of 0.8 s.
    """
    generated: list[str] = []
    others: list[str] = []
    for start in range(0, len(listed), SPLIT_AT_ONCE):
        some = listed[start : start + SPLIT_AT_ONCE]
        looked = some
        if len(some[0]) != _GENERATED_CHARS != len(some[-1]):  # hardly any: their length finds them faster
            looked = [name for name in some if len(name) == _GENERATED_CHARS]
        text = "\n".join(looked)
        if text.count("\n") == max(0, len(looked) - 1):
            found = _GENERATED_LINE.findall(text)
        else:  # a line feed in a name
            found = [name for name in looked if name.endswith(".json") and is_generated(name[:-5])]
        generated += some if len(found) == len(some) else found
        if len(found) < len(some):
            known = set(found)
            others += [name for name in some if name not in known] if known else some
    return generated, others


def stripe_of(job_id: str) -> int:
    """Return the stripe that guards an id: the same for ids that differ only in case, on every machine and version."""
    return zlib.crc32(job_id.lower().encode("utf-8", "surrogateescape")) % STRIPE_COUNT


def parse(file_name: str) -> NameParts | None:
    """Parse the name of a file in `pending/`; return None if it is not a job's.

    Flags are read from the end. An unreadable flag, with everything before it, is part of the stem, because a name is
    never a reason to reject a file.
    """
    if not file_name.endswith(".json"):
        if file_name[-5:].lower() != ".json":
            return None
        file_name = f"{file_name[:-5]}.json"
    if len(file_name) == 5:
        return None
    stem = file_name[:-5]
    if is_plain(file_name):
        return NameParts(stem, None, 0)
    if ",by=" in stem and (owned := _OWNED.fullmatch(file_name)) is not None:
        return NameParts(owned[1], None, 0, owned[2])
    if ",in=" in stem and (timed := TIMED.fullmatch(file_name)) is not None:
        return NameParts(timed[1], None, 0, "", f"{timed[2]}-{timed[3]}-{timed[4]}")
    if AFTER in stem and (blocked := BLOCKED.fullmatch(file_name)) is not None:
        return NameParts(blocked[1], None, 0, after=blocked[2])
    if "," in stem and (flagged := _FLAGGED.fullmatch(file_name)) is not None:
        found, due, day, time, micros, prio, owner, queue, key = flagged.groups("")
        due_at = times.from_name(due) if due else None
        if due_at is not None or not due:
            arrived = f"{day}-{time}-{micros}" if day else ""
            return NameParts(found, due_at, int(prio or 0), owner, arrived, queue, key)
    if is_temporary(file_name):
        return None
    if is_held(file_name):
        stem = file_name[: -len(_HELD)]
    if "," not in stem:
        return NameParts(stem, None, 0)
    due_at = None
    priority = 0
    owner = arrived = queue = key = after = needs = ""
    while (split := stem.rpartition(","))[0]:
        flag, _, value = split[2].partition("=")
        if flag == "due" and (instant_at := times.from_name(value)) is not None:
            due_at = instant_at
        elif flag == "in" and (match := _ARRIVED.fullmatch(value)) is not None:
            arrived = "-".join(match.groups())
        elif flag == "prio" and _PRIORITY.fullmatch(value):
            priority = int(value)
        elif flag == "by" and _OWNER.fullmatch(value):
            owner = value
        elif flag == "q" and _QUEUE.fullmatch(value):
            queue = value
        elif flag == "key" and _KEY.fullmatch(value):
            key = value
        elif flag == "after" and _ID.fullmatch(value):
            after = value
        elif flag == "needs" and _KEY.fullmatch(value):
            needs = value
        else:
            break
        stem = split[0]
    return NameParts(stem, due_at, priority, owner, arrived, queue, key, after, needs)


def is_plain(file_name: str) -> bool:
    """Return whether a name is that of a job without flags, and of the usual letters: `parse` finds only a stem."""
    return _PLAIN.fullmatch(file_name) is not None and not opens_a_device(file_name)


def is_temporary(file_name: str) -> bool:
    """Return whether queuectl ignores a name, because clients use it for unfinished or left-over files.

    True on Windows for names of devices, which other systems can create there: nothing may open or even check them.
    """
    if _PLAIN.fullmatch(file_name):  # most names, in a tenth of the time: a listing may have a million
        return opens_a_device(file_name)
    if ",by=" in file_name and _OWNED.fullmatch(file_name):
        return False
    if ",in=" in file_name and TIMED.fullmatch(file_name):
        return False
    if AFTER in file_name and BLOCKED.fullmatch(file_name):
        return False
    if "," in file_name and _FLAGGED.fullmatch(file_name):
        return False
    return _temporary().search(file_name) is not None or opens_a_device(file_name)


def is_copy(file_name: str) -> bool:
    """Return whether a name is of an unfinished or conflicting copy: temporary, or a job's name with a suffix."""
    if file_name.lower() in _DESKTOP or opens_a_device(file_name):
        return False
    return is_temporary(file_name) or _MORE.search(file_name) is not None


def is_batch(file_name: str) -> bool:
    """Return whether a file has one job per line."""
    return file_name[-6:].lower() == ".jsonl" and len(file_name) > 6 and not is_temporary(file_name)


def is_held(file_name: str) -> bool:
    """Return whether a waiting file is held: it does not run until the flag is removed from its name."""
    return "," in file_name and file_name[-len(_HELD) :].lower() == _HELD


def held_name(file_name: str) -> str:
    """Return the name of a waiting file while it is held."""
    return file_name if is_held(file_name) else file_name[: -len(".json")] + _HELD


def released_name(file_name: str) -> str:
    """Return the name of a waiting file after its release."""
    return file_name[: -len(_HELD)] + ".json" if is_held(file_name) else file_name


def why_bad_queue(queue: str) -> str:
    """Return the mistake in the name of a queue, as the end of a sentence, or ""."""
    if _QUEUE.fullmatch(queue):
        return ""
    return "must have 1 to 24 characters of a-z 0-9 - and start with a letter or digit"


def key_flag(key: str) -> str:
    """Return a key as names and boards have it: the key itself, or for other keys its beginning and a hash."""
    return key if not key or _PLAIN_KEY.fullmatch(key) else hashed_flag(key)


def hashed_flag(key: str) -> str:
    """Return the beginning of a key and a hash, in the form of a flag."""
    import base64  # few keys need this
    import hashlib

    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    shown = re.sub("[^A-Za-z0-9]+", "-", key)[:15]
    return f"{shown}~{base64.b32encode(digest[:10]).decode().lower()}"


def waiting_name(
    job_id: str,
    due_at: float | None,
    priority: int,
    owner: str = "",
    arrived: str = "",
    place: tuple[str, str, str] = ("", "", ""),
) -> str:
    """Return the name of a waiting job's file; `due_at` None means now, and `owner` "" means no owner.

    `arrived` is the stamp of its arrival. The name leaves it out if it has an instant already: a due time, or a
    generated id. `place` is the job's queue ("": the default queue), its key as `key_flag` returns it, and its
    needs as `needs.flag` does.
    """
    if due_at is not None:
        when = f",due={times.to_name(due_at)}"
    elif arrived and not is_generated(job_id):
        when = f",in={arrived[:8]}T{arrived[9:15]}.{arrived[16:]}Z"
    else:
        when = ""
    prio = f",prio={priority}" if priority else ""
    by = f",by={owner}" if owner else ""
    queue, key, needs = place
    q = f",q={queue}" if queue else ""
    rest = f"{q}{f',key={key}' if key else ''}{f',needs={needs}' if needs else ''}.json"
    if needs and len(job_id + when + prio + by + rest + _HELD) > NAME_MAX_BYTES:
        by = ""  # it costs turns only, and needs that a name does not show would be asked for again and again
    return f"{job_id}{when}{prio}{by}{rest}"


def blocked_name(job_id: str, parent: str) -> str:
    """Return the name of the file of a job that waits for another one. It has no other flag: its turn comes later."""
    return f"{job_id}{AFTER}{parent}.json"


def as_dropped(file_name: str) -> str:
    """Return the original name of a drop, without the flags that its judge has added."""
    parts = parse(file_name) if "," in file_name else None
    return file_name if parts is None or not parts.arrived else f"{parts.stem}.json"
