"""The corpus of hostile files, as data: what each is, where it is put, and what must become of it.

Nothing is stored: every file is made when a test puts it into a spool, so no checkout holds a name or a link that git
or Windows cannot. A file that must be refused carries `CANARY` as its command: the file that it makes must never
appear. A file that must be accepted carries `RUN`: each run writes a line.
"""

# ruff: noqa: E501 (a case is a row of a table)

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from queuectl.model import record, times

CANARY = "touch canary"
RUN = "echo $QUEUECTL_JOB_ID >> ran"
AT = times.to_text(time.time() - 60)

Make = Callable[[Path], None]


class Runs(NamedTuple):
    """Accepted, and run to its end: it lies in `state` as `job_id`.

    `job_id` is "" for the file's stem, "?" for what the name of the file is made into, "x-*" for one that begins so.
    `ran` is False where the command cannot be started, or had run before the file came here.
    """

    job_id: str = ""
    state: str = "done"
    ran: bool = True
    copied: str = ""
    """Where a copy of the file as it was is kept in rejected/ too: a part of its reason."""


class Rejected(NamedTuple):
    """Moved to rejected/, not a byte changed, beside a reason that holds `why`."""

    why: str


class Alone(NamedTuple):
    """Left where it lies, not a byte changed."""


class Waits(NamedTuple):
    """Accepted, and in pending/ for a later time under its own inode or another; never run."""

    job_id: str


class Splits(NamedTuple):
    """Taken as many jobs: so many run, so many are refused one by one; the file itself is kept."""

    jobs: int
    refused: int = 0


Expect = Runs | Rejected | Alone | Waits | Splits


class Case(NamedTuple):
    """One hostile file: a name for the test, its folder and file name, how to make it, what must become of it."""

    name: str
    folder: str
    file: str
    make: Make
    expect: Expect


# -------------------------------------------------------------------------------------------------------------- makers


def holds(data: bytes | Callable[[], bytes]) -> Make:
    """A regular file with this content."""
    return lambda path: _write(path, data if isinstance(data, bytes) else data())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def doc(command: str = CANARY, **keys: Any) -> bytes:
    """A job as any program would write it, dead at its first failure."""
    return json.dumps({"command": command, "max_retries": 0, **keys}).encode()


def raw(key: str, value: str, command: str = CANARY) -> bytes:
    """A job with one more key, both as JSON text: for values that no program would write."""
    return b'{"command": "%b", "max_retries": 0, "%b": %b}' % (command.encode(), key.encode(), value.encode())


def event(kind: str, **facts: Any) -> dict[str, Any]:
    """An event of a history."""
    return {"at": AT, "event": kind, **facts}


ENQUEUED = event("enqueued", by="enqueue")
STARTED = event("started", attempt=1, worker="w0", lease="w0.0")
DONE = event("succeeded", attempt=1, exit_code=0, duration_s=0.1, to="done")
DEAD = event("failed", attempt=1, exit_code=1, duration_s=0.1, to="dlq")


def framed(job_id: str, *events: dict[str, Any], command: str = CANARY, **keys: Any) -> bytes:
    """A record with our framing, whatever it says."""
    spec = {"id": job_id, "command": command, "max_retries": 3, "backoff_base": 0, "backoff_max": 3600, **keys}
    lines = [' "format": 1', *(f' "{key}": {json.dumps(value)}' for key, value in spec.items())]
    events = events or (ENQUEUED,)
    texts = {number: f"\n  {json.dumps(item)}" for number, item in {id(item): item for item in events}.items()}
    history = ",".join(texts[id(item)] for item in events)
    return ("{\n" + ",\n".join(lines) + ',\n "history": [' + history).encode() + record.CLOSING


def with_line(data: bytes, line: bytes) -> bytes:
    """A framed record with one more line before its history."""
    return data.replace(b' "history": [', line + b',\n "history": [', 1)


def sparse(size: int, head: bytes = b"") -> Make:
    """A file of this size that takes no room on the disk."""

    def make(path: Path) -> None:
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(size)

    return make


def link(target: str) -> Make:
    """A symbolic link; `outside` is a file beside the spool that holds a job."""

    def make(path: Path) -> None:
        outside = path.parent.parent.parent / "outside"
        outside.write_bytes(doc())
        os.symlink(target.replace("@outside", str(outside)).replace("@self", path.name), path)

    return make


def hard_link(data: bytes, folder: str = "") -> Make:
    """A second name of a file outside of the spool, or of one in another folder of it."""

    def make(path: Path) -> None:
        first = path.parent.parent.parent / f"first-{path.name}" if not folder else path.parent.parent / folder
        if folder:
            first = first / f"{json.loads(data)['id']}.json"
        first.write_bytes(data)
        os.link(first, path)

    return make


def bound(path: Path) -> None:
    """A socket that nobody listens on (bound through a handle of its folder: their paths must be short)."""
    folder_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder_fd}/{path.name}")
    os.close(folder_fd)


def folder(path: Path) -> None:
    """A folder that holds a job."""
    path.mkdir()
    (path / "inner.json").write_bytes(doc())


def device(path: Path) -> None:
    """The null device (root only)."""
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def mode_000(path: Path) -> None:
    """A good job that only root can read."""
    path.write_bytes(doc(RUN))
    path.chmod(0)


KINDS: dict[str, Make] = {
    "link-outside": link("@outside"),
    "link-inside": link("../done/q-link-target.json"),
    "link-dangling": link("/nonexistent/x"),
    "link-loop": link("@self"),
    "link-folder": link("."),
    **({"fifo": os.mkfifo} if hasattr(os, "mkfifo") else {}),
    "socket": bound,
    "folder": folder,
    **({"device": device} if hasattr(os, "geteuid") and os.geteuid() == 0 else {}),
}

# -------------------------------------------------------------------------------------------------------------- groups

PAYLOADS = {
    "clear": "\x1b[2J\x1b[H",
    "bell": "\x07\x08\x7f",
    "osc8": "\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "c1": "\x9b31m\x85\x90",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069",
    "zero-width": "a\u200bb\u200d\ufeff\u2060\u00ad",
    "markup": "[red]fake[/red][link=http://evil.example]x[/link][/]:skull:",
    "row": "x\nfake\tdone\t1/1\t\t\ttrue\t",
    "separators": "a\u2028b\u2029c\x0b\x0c\x1c",
    "tags-plane": "\U000e0041\U000e0042\ufe0f",
}


def _generated(number: int) -> str:
    """A name like those that `enqueue` makes: such files are not looked at before they are claimed."""
    return f"20260101-000000-{number:06d}-aaaa"


def _kinds() -> Iterator[Case]:
    for number, (kind, make) in enumerate(KINDS.items()):
        yield Case(f"kind-{kind}", "pending", f"k-{kind}.json", make, Alone())
        yield Case(f"kind-{kind}-lines", "pending", f"k-{kind}.jsonl", make, Alone())
        yield Case(f"kind-{kind}-generated", "pending", f"{_generated(number)}.json", make, Alone())
    yield Case(
        "mode-000", "pending", "mode-000.json", mode_000, Runs() if getattr(os, "geteuid", int)() == 0 else Alone()
    )
    first = doc(RUN)
    yield Case("hard-link-outside", "pending", "hl-out.json", hard_link(first), Runs())
    yield Case("hard-link-framed", "pending", "hl-framed.json", hard_link(framed("hl-framed", command=RUN)), Runs())
    inside = hard_link(framed("hl-inside", ENQUEUED, STARTED, DONE, command=RUN), "done")
    yield Case("hard-link-inside", "pending", "hl-inside.json", inside, Runs("hl-inside-*"))
    other = hard_link(framed("hl-dead", ENQUEUED, STARTED, DEAD, command=RUN), "dlq")
    yield Case("hard-link-inside-other-name", "pending", "hl-other.json", other, Runs("hl-other"))


def _padded(size: int, command: str) -> bytes:
    data = doc(command, padding="")
    return data.replace(b'"padding": ""', b'"padding": "%b"' % (b"x" * (size - len(data))))


def _sizes() -> Iterator[Case]:
    mib = 1024 * 1024
    head = framed("s-head")[:-30]
    cases: list[tuple[str, str, Make, Expect]] = [
        ("empty", "s-empty.json", holds(b""), Rejected("it is empty")),
        ("spaces", "s-spaces.json", holds(b" \n\t\r\n" * 100), Rejected("it is empty")),
        ("sparse", "s-sparse.json", sparse(8 << 30), Rejected("larger than 1048576")),
        ("sparse-lines", "s-sparse.jsonl", sparse(8 << 30), Rejected("larger than 67108864")),
        ("sparse-generated", f"{_generated(100)}.json", sparse(8 << 30), Rejected("larger than")),
        ("zeros", "s-zeros.json", sparse(60 * mib), Rejected("larger than 1048576")),
        ("zeros-generated", f"{_generated(101)}.json", sparse(60 * mib), Rejected("larger than")),
        ("torn-sparse", "s-torn.json", sparse(8 << 30, head), Rejected("larger than")),
        ("torn-large", "s-torn2.json", sparse(12 * mib, framed("s-torn2", command=RUN)[:-8] + b","), Runs()),
        ("below-limit", "s-below.json", holds(lambda: _padded(mib - 1, RUN)), Runs()),
        ("at-limit", "s-at.json", holds(lambda: _padded(mib, RUN)), Runs()),
        ("above-limit", "s-above.json", holds(lambda: _padded(mib + 1, CANARY)), Rejected("larger than 1048576")),
        ("above-limit-generated", f"{_generated(102)}.json", holds(lambda: _padded(mib + 1, CANARY)), Rejected("larger")),
        ("long-command", "s-arg.json", holds(lambda: doc(": " + "x" * 200_000)), Runs(state="dlq", ran=False)),
        ("many-keys", "s-keys.json", holds(lambda: doc(RUN, **{f"k{n}": 1 for n in range(80_000)})), Runs()),
        ("many-keys-no-command", "s-keys2.json", holds(lambda: b'{%b"z": 1}' % (b'"comand": "true", ' + b"".join(b'"k%d": 1, ' % n for n in range(70_000)))), Rejected("command: is missing")),
        ("long-key", "s-key.json", holds(lambda: doc(RUN, **{"command" * 140_000: 1})), Runs()),
        ("many-tags", "s-tags.json", holds(lambda: doc(RUN, tags=[""] * 200_000)), Runs()),
        ("many-events", "s-events.json", holds(lambda: framed("s-events", *([ENQUEUED, STARTED, {**DEAD, "to": "pending"}] * 33_000), command=RUN, max_retries=1_000_000)), Runs()),
    ]  # fmt: skip
    for name, file, make, expect in cases:
        yield Case(f"size-{name}", "pending", file, make, expect)


def _truncations() -> Iterator[Case]:
    whole = b'{"command": "touch canary", "id": "t", "tags": ["a"], "env": {"a": "b"}}'
    for size in range(len(whole)):
        why = "not complete JSON" if size else "it is empty"
        yield Case(f"cut-drop-{size}", "pending", f"cut-drop-{size}.json", holds(whole[:size]), Rejected(why))
    failed = event("failed", attempt=1, exit_code=1, to="pending", due_at=AT, delay_s=1)
    histories = {"record": (ENQUEUED,), "history": (ENQUEUED, STARTED, failed, event("requeued", by="api"))}
    for kind, events in histories.items():
        size, at_least = 0, 1
        while size < at_least:
            job_id = f"cut-{kind}-{size}"
            refused = framed(job_id, *events)
            head_end = refused.index(b'"history": [') + len(b'"history": [')
            at_least = len(refused) - 1
            if size < head_end:
                why = "not complete JSON" if size else "it is empty"
                yield Case(job_id, "pending", f"{job_id}.json", holds(refused[:size]), Rejected(why))
            else:
                good = framed(job_id, *events, command=RUN)
                cut = size - len(refused)
                yield Case(job_id, "pending", f"{job_id}.json", holds(good[:cut]), Runs())
                in_running = framed(f"r{job_id}", *events, command=RUN)[:cut]
                if kind == "history" and size % 9 == 0:
                    yield Case(f"running-{job_id}", "running", f"r{job_id}.json", holds(in_running), Runs())
            size += 1


def _encodings() -> Iterator[Case]:
    good, bad = doc(RUN).decode(), doc().decode()
    cases: list[tuple[str, bytes, Expect]] = [
        ("invalid-first", b"\xff" + doc(), Rejected("not utf-8 text from byte 0")),
        ("invalid-in-command", doc().replace(b"canary", b"can\xffary"), Rejected("not utf-8 text")),
        ("invalid-in-key", doc().replace(b"max_retries", b"max\xc3retries"), Rejected("not utf-8 text")),
        ("invalid-last", doc() + b"\x80", Rejected("not utf-8 text")),
        ("overlong", doc().replace(b"canary", b"\xc0\xaf"), Rejected("not utf-8 text")),
        ("surrogate-bytes", doc().replace(b"canary", b"\xed\xa0\x80"), Rejected("not utf-8 text")),
        ("beyond-unicode", doc().replace(b"canary", b"\xf4\x90\x80\x80"), Rejected("not utf-8 text")),
        ("nul-tail", doc() + b"\0" * 100, Rejected("not complete JSON")),
        ("nul-page-tail", doc() + b"\0" * 4096, Rejected("not complete JSON")),
        ("nul-head", b"\0" * 10 + doc(), Rejected("not complete JSON")),
        ("nul-inside", doc().replace(b", ", b",\0"), Rejected("not complete JSON")),
        ("all-nul", b"\0" * 4096, Rejected("only NUL")),
        ("bom", b"\xef\xbb\xbf" + good.encode(), Runs()),
        ("bom-twice", b"\xef\xbb\xbf" * 2 + bad.encode(), Rejected("not complete JSON")),
        ("bom-only", b"\xef\xbb\xbf", Rejected("it is empty")),
        ("utf-16-le", b"\xff\xfe" + good.encode("utf-16-le"), Runs()),
        ("utf-16-be", b"\xfe\xff" + good.encode("utf-16-be"), Runs()),
        ("utf-16-le-odd", b"\xff\xfe" + bad.encode("utf-16-le") + b"x", Rejected("not utf-16")),
        ("utf-16-bom-only", b"\xff\xfe", Rejected("it is empty")),
        ("utf-16-no-mark-le", bad.encode("utf-16-le"), Rejected("not complete JSON")),
        ("utf-16-no-mark-be", bad.encode("utf-16-be"), Rejected("not complete JSON")),
        ("utf-32-le", bad.encode("utf-32"), Rejected("not complete JSON")),
        ("utf-32-be", b"\0\0\xfe\xff" + bad.encode("utf-32-be"), Rejected("not utf-8")),
        ("utf-7", b"+AHs-" + doc(), Rejected("not complete JSON")),
        ("crlf", json.dumps(json.loads(good), indent=2).replace("\n", "\r\n").encode(), Runs()),
        ("comment", b"// a job\n" + doc(), Rejected("not complete JSON")),
        ("trailing-comma", doc()[:-1] + b",}", Rejected("not complete JSON")),
        ("single-quotes", doc().replace(b'"', b"'"), Rejected("not complete JSON")),
        ("two-documents", doc() + b"\n" + doc(), Rejected("not complete JSON")),
        ("raw-newline", doc().replace(b"touch ", b"touch\n"), Rejected("not complete JSON")),
        ("yaml", b"command: touch canary\n", Rejected("not complete JSON")),
        ("python", b"__import__('os').system('touch canary')", Rejected("not complete JSON")),
        ("shell", b"#!/bin/sh\ntouch canary\n", Rejected("not complete JSON")),
        ("text", b'"touch canary"', Rejected("this is a text")),
        ("number", b"42", Rejected("this is a number")),
        ("null", b"null", Rejected("this is null")),
        ("true", b"true", Rejected("this is true or false")),
        ("object", b"{}", Rejected("command: is missing")),
    ]  # fmt: skip
    for name, data, expect in cases:
        yield Case(f"text-{name}", "pending", f"e-{name}.json", holds(data), expect)


def _depths() -> Iterator[Case]:
    def nest(depth: int, opening: str = "[", closing: str = "]") -> str:
        return opening * depth + closing * depth

    deep = Rejected("nested too deep")
    cases: list[tuple[str, bytes, Expect]] = [
        ("arrays", nest(100_000).encode(), deep),
        ("objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, deep),
        ("open", b"[" * 100_000, deep),
        ("open-objects", b'{"a":' * 100_000, deep),
        ("unknown", raw("z", nest(100_000)), deep),
        ("unknown-objects", raw("z", '{"a":' * 100_000 + "1" + "}" * 100_000), deep),
        ("known", raw("tags", nest(100_000)), deep),
        ("history", raw("history", nest(100_000)), deep),
        ("in-event", raw("history", '[{"at": "x", "event": "enqueued", "z": ' + nest(900) + "}]"), deep),
        ("readers-edge", raw("z", nest(960)), deep),
        ("hundreds", raw("z", nest(300)), deep),
        ("one-more", raw("z", nest(64)), deep),
        ("at-limit", raw("z", nest(63), RUN), Runs()),
        ("brackets-in-text", raw("z", json.dumps("[" * 100_000), RUN), Runs()),
    ]
    for name, data, expect in cases:
        yield Case(f"deep-{name}", "pending", f"n-{name}.json", holds(data), expect)


def _keys() -> Iterator[Case]:
    twice = Rejected("occurs twice")
    cases = {
        "command": raw("command", '"true"'),
        "command-escaped": raw("c\\u006fmmand", '"true"'),
        "id": b'{"id": "a", "id": "b", "command": "touch canary"}',
        "unknown": b'{"command": "touch canary", "z": 1, "z": 1}',
        "nested": b'{"command": "touch canary", "z": {"y": {"x": 1, "x": 2}}}',
        "env": b'{"command": "touch canary", "env": {"A": "1", "A": "2"}}',
        "in-array": b'[{"command": "true"}, {"command": "true", "command": "touch canary"}]',
        "empty-key": b'{"command": "touch canary", "": 1, "": 2}',
    }
    for name, data in cases.items():
        yield Case(f"twice-{name}", "pending", f"d-{name}.json", holds(data), twice)


def _numbers() -> Iterator[Case]:
    none = Rejected("number")
    for name, value in {"nan": "NaN", "inf": "Infinity", "minus-inf": "-Infinity"}.items():
        for key in ("backoff_base", "timeout", "z"):
            yield Case(f"number-{name}-{key}", "pending", f"f-{name}-{key}.json", holds(raw(key, value)), none)
    yield Case("number-1e999-z", "pending", "f-1e999-z.json", holds(raw("z", "1e999")), Rejected("too large"))
    yield Case("number-1e999-in", "pending", "f-1e999-in.json", holds(raw("z", "[[-1e999]]")), Rejected("too large"))
    digits = {"5000": "9" * 5000, "4000": "9" * 4000, "401": "1" + "0" * 400, "minus-4000": "-" + "9" * 4000}
    numeric = ("max_retries", "backoff_base", "backoff_max", "jitter", "timeout", "priority", "delay", "format")
    for key in numeric:
        for name, value in {**digits, "1e999": "1e999", "1e308": "1e308", "-1": "-1", "minus-1e308": "-1e308"}.items():
            if (key, name) == ("priority", "-1"):
                continue
            file = f"f-{name}-{key}.json"
            yield Case(f"number-{name}-{key}", "pending", file, holds(raw(key, value)), Rejected(""))
    for name, value in digits.items():
        expect: Expect = none if name == "5000" else Runs()
        data = raw("z", value, RUN if name != "5000" else CANARY)
        yield Case(f"number-{name}-z", "pending", f"f-{name}-z.json", holds(data), expect)
        codes = raw("no_retry_exit_codes", f"[{value}]")
        yield Case(f"number-{name}-codes", "pending", f"f-{name}-codes.json", holds(codes), Rejected(""))
    yield Case("number-long-fraction", "pending", "f-long.json", holds(raw("z", "0." + "1" * 5000, RUN)), Runs())
    for key, value in {"backoff_max": "9999999d", "timeout": "1h1x", "delay": "-5m", "run_at": "tomorrow"}.items():
        yield Case(f"number-text-{key}", "pending", f"f-text-{key}.json", holds(doc(**{key: value})), Rejected(key))
    for name, at in {"year-1": "0001-01-01T00:00:00+23:59", "year-9999": "9999-12-31T23:59:59-23:59"}.items():
        yield Case(f"number-run-at-{name}", "pending", f"f-at-{name}.json", holds(doc(run_at=at)), Rejected("run_at"))


SAMPLES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus": -1,
    "half": 1.5,
    "text": "text",
    "nothing": "",
    "array": [],
    "texts": ["true"],
    "numbers": [1],
    "arrays": [[]],
    "nulls": [None],
    "object": {},
    "pairs": {"a": "b"},
    "counts": {"a": 1},
}
# Which of the samples each key takes; every other one is refused, by the name of the key.
TAKES = {
    "command": "text texts",
    "id": "null text",
    "max_retries": "null zero",
    "backoff_base": "null zero half",
    "backoff_max": "null zero half",
    "jitter": "null zero",
    "timeout": "null half",
    "priority": "zero minus",
    "run_at": "null",
    "delay": "null zero half",
    "cwd": "null text nothing",
    "env": "null object pairs",
    "tags": "null array texts",
    "no_retry_exit_codes": "null array numbers",
    "format": "",
    "history": "array",
}


def _types() -> Iterator[Case]:
    for key, taken in TAKES.items():
        for kind, value in SAMPLES.items():
            stem = f"w-{key}-{kind}"
            if kind not in taken.split():
                yield Case(f"type-{key}-{kind}", "pending", f"{stem}.json", holds(doc(**{key: value})), Rejected(key))
                continue
            expect = Runs()
            if key == "command":
                expect = Runs(state="dlq" if kind == "text" else "done", ran=False)  # there is no program `text`
            elif (key, kind) == ("id", "text"):
                expect = Runs("text")
            elif (key, kind) == ("cwd", "text"):
                expect = Runs(state="dlq", ran=False)  # and no such folder
            yield Case(
                f"type-{key}-{kind}", "pending", f"{stem}.json", holds(doc(**{"command": RUN, key: value})), expect
            )


def _texts() -> Iterator[Case]:
    lone = "\\ud800"
    spots = {
        "command": ('"command": "touch canary %s"', "surrogate"),
        "words": ('"command": ["touch", "canary", "%s"]', "surrogate"),
        "id": ('"command": "touch canary", "id": "a%s"', "id"),
        "cwd": ('"command": "touch canary", "cwd": "%s"', "surrogate"),
        "env-name": ('"command": "touch canary", "env": {"%s": "a"}', "surrogate"),
        "env": ('"command": "touch canary", "env": {"a": "%s"}', "surrogate"),
        "tag": ('"command": "touch canary", "tags": ["%s"]', "surrogate"),
        "key": ('"command": "touch canary", "%s": 1', "surrogate"),
        "unknown": ('"command": "touch canary", "z": ["%s"]', "surrogate"),
        "run_at": ('"command": "touch canary", "run_at": "%s"', "run_at"),
        "timeout": ('"command": "touch canary", "timeout": "%s"', "timeout"),
        "event": ('"command": "touch canary", "history": [{"at": "%s", "event": "enqueued"}]', "surrogate"),
    }
    for name, (text, why) in spots.items():
        data = ("{" + text.replace("%s", lone) + "}").encode()
        yield Case(f"surrogate-{name}", "pending", f"x-surrogate-{name}.json", holds(data), Rejected(why))
        if name in ("command", "words", "cwd", "env-name", "env", "id", "run_at", "timeout"):
            nul = ("{" + text.replace("%s", "\\u0000") + "}").encode()
            yield Case(f"nul-{name}", "pending", f"x-nul-{name}.json", holds(nul), Rejected(""))
    harmless: dict[str, dict[str, Any]] = {"tag": {"tags": ["a\0b"]}, "unknown": {"z": "a\0b"}, "key": {"a\0b": 1}}
    for name, keys in harmless.items():
        yield Case(f"nul-{name}", "pending", f"x-nul-{name}.json", holds(doc(RUN, **keys)), Runs())
    for name, value in {"spaces": "  \t", "no-words": [], "empty-word": [""], "space-word": [" "]}.items():
        data = doc(command=value)  # type: ignore[arg-type]
        yield Case(f"command-{name}", "pending", f"x-command-{name}.json", holds(data), Rejected("command"))
    for name, env in {"equals": {"A=B": "1"}, "empty": {"": "1"}, "only-equals": {"=": "1"}}.items():
        yield Case(f"env-{name}", "pending", f"x-env-{name}.json", holds(doc(env=env)), Rejected("env"))
    for name, text in PAYLOADS.items():
        told: dict[str, Any] = {"tags": [text], "env": {"A": text}, text: text, "note": {text: [text]}}
        data = doc(f": {shlex.quote(text)}; {RUN}", **told)
        yield Case(f"payload-{name}", "pending", f"p-{name}.json", holds(data), Runs())
        for key in ("id", "cwd", "run_at", "timeout"):
            expect: Expect = Runs(state="dlq", ran=False) if key == "cwd" else Rejected(key)
            yield Case(f"payload-{name}-{key}", "pending", f"p-{name}-{key}.json", holds(doc(**{key: text})), expect)
        twice = json.dumps(text)
        data = f'{{"command": "touch canary", {twice}: 1, {twice}: 2}}'.encode()
        yield Case(f"payload-{name}-twice", "pending", f"p-{name}-twice.json", holds(data), Rejected("twice"))
        noisy = doc(f"printf %s {shlex.quote(text)}; {RUN}; exit 1")
        yield Case(f"payload-{name}-printed", "pending", f"p-{name}-printed.json", holds(noisy), Runs(state="dlq"))


def _ids() -> Iterator[Case]:
    bad = ["../../etc/passwd", "..", ".", "/etc/x", "a/b", "a\\b", "C:x", "CON", "nul", "com1.txt", "LPT9", "a.", "-a"]
    bad += [".a", "a" * 101, "\u00e9", "a\nb", "a b", "x.tmp", "a,prio=9", "a\0", "~a", "a%", "a" * 100_000]
    for number, job_id in enumerate(bad):
        yield Case(f"id-{number}", "pending", f"i-{number}.json", holds(doc(id=job_id)), Rejected("id: "))
    yield Case("id-longest", "pending", "i-longest.json", holds(doc(RUN, id="i" * 100)), Runs("i" * 100))
    for job_id in ("i-Case", "i-case", "i-CASE"):
        yield Case(f"id-{job_id}", "pending", f"{job_id}.json", holds(doc(RUN, id=job_id)), Runs(job_id))
    yield Case("id-taken", "pending", "i-taken.json", holds(doc(id="q-taken")), Rejected("already exists"))


# Names that a job may be dropped under; the id it gets is written in the `file` of its event.
STEMS = [
    "con",
    "nul.txt",
    "COM1",
    "lpt9.x.y",
    "aux",
    "up\\..\\..\\up",
    "a b",
    "-",
    "--help",
    "-rf",
    " ",
    "a\nb",
    "a\tb",
]
STEMS += ["\x1b[2J", "\u202egnp", "a\u200bb", "[red]x", "\u00e9" * 120, "m" * 250, "\U0001f600", "'; touch canary"]
STEMS += [
    "$(touch canary)",
    "`touch canary`",
    "{}",
    "*",
    "?",
    "a:b",
    "a|b",
    "<a>",
    '"',
    "a,due=junk",
    ",",
    "x" * 240 + "\n",
]
STEMS += [
    "a,prio=99999999",
    "b,due=00010101T000000Z",
    "c,due=20260101T000000Z,prio=5",
    "\udcff\udcfe",
    "b\udce9b",
    "%s",
]
STEMS += ["d,due=20261399T999999Z", "x.json", "x.reason.txt x", "\u2028", "a" * 99 + ".", "\ufeff", "O'Neil", "t~t"]
FOREIGN = [
    ".x.json",
    "..\\..\\up.json",
    "x.tmpl.json",
    "~x.json",
    "#x#.json",
    "x.json~",
    "x.json.tmp",
    "x.json.part",
    "x.json.crdownload",
    "x",
]
FOREIGN += ["x (a's conflicted copy 2026-01-01).json", "x.sync-conflict-20260101-000000-ABC.json", "x.tmpAb1.json"]
FOREIGN += ["desktop.ini", "Thumbs.db", ".json", ".jsonl", "x.json.lock", "README.md", "x.json ", "x.json\n", "x.jsonx"]


def _names() -> Iterator[Case]:
    for number, stem in enumerate(STEMS):
        yield Case(f"name-{number}", "pending", f"{stem}.json", holds(doc(RUN)), Runs("?"))
        if len(os.fsencode(stem)) < 240:
            refused = f"no-{stem}.json" if not stem.startswith(("b,", "c,")) else f"{stem[0]}no{stem[1:]}.json"
            yield Case(f"name-{number}-refused", "pending", refused, holds(b"{"), Rejected("not complete JSON"))
        yield Case(f"name-{number}-lines", "pending", f"{stem}.jsonl"[-255:], holds(doc(RUN) + b"\n"), Splits(1))
    longest = "r" * 250
    yield Case("name-longest-refused", "pending", f"{longest}.json", holds(b"{"), Rejected("not complete JSON"))
    wide = "\u00fc" * 124
    yield Case("name-wide-refused", "pending", f"{wide}.json", holds(b"{"), Rejected("not complete JSON"))
    yield Case("name-capitals", "pending", "x.JSON", holds(doc(RUN)), Runs("?"))
    yield Case("name-far", "pending", "far,due=99991231T235959Z.json", holds(doc()), Alone())
    for number, name in enumerate(FOREIGN):
        yield Case(f"foreign-{number}", "pending", name, holds(doc()), Alone())


def _look_alikes() -> Iterator[Case]:
    def good(stem: str, *events: dict[str, Any], **keys: Any) -> bytes:
        return framed(f"l-{stem}", *events, command=RUN, **keys)

    def bad(stem: str, *events: dict[str, Any], **keys: Any) -> bytes:
        return framed(f"l-{stem}", *events, **keys)

    failed = event("failed", attempt=1, exit_code=1, to="pending")
    torn = good("torn-middle", ENQUEUED, STARTED, failed, event("requeued", by="api"))
    hole = torn.index(b'"started"')
    torn_spec = bad("torn-spec")
    spec_at = torn_spec.index(b"canary")
    same_line = b' "z": 1, "command": "true"'
    cases: list[tuple[str, bytes, Expect]] = [
        ("torn-middle", torn[:hole] + b"\0" * 9 + torn[hole + 9 :], Runs(copied="is damaged")),
        ("torn-spec", torn_spec[:spec_at] + b"\0" * 6 + torn_spec[spec_at + 6 :], Rejected("not complete JSON")),
        ("twice", with_line(bad("twice"), b' "command": "true"'), Rejected("twice")),
        ("twice-in-line", with_line(bad("twice-in-line"), same_line), Rejected("twice")),
        ("twice-escaped", with_line(bad("twice-escaped"), b' "comm\\u0061nd": "true"'), Rejected("twice")),
        ("twice-id", with_line(bad("twice-id"), b' "id": "other"'), Rejected("twice")),
        ("twice-history", with_line(bad("twice-history"), b' "history": []'), Rejected("twice")),
        ("second-document", bad("second-document") + doc(), Rejected("not complete JSON: there is more text")),
        ("second-record", bad("second-record") * 2, Rejected("not complete JSON: there is more text")),
        ("second-closing", bad("second-closing") + record.CLOSING, Rejected("not complete JSON: there is more text")),
        ("nul-tail", good("nul-tail") + b"\0" * 300, Runs()),
        ("line-feeds", good("line-feeds") + b"\n\n\n", Runs()),
        ("crlf", good("crlf", ENQUEUED, STARTED, failed).replace(b"\n", b"\r\n"), Runs()),
        ("bom", b"\xef\xbb\xbf" + good("bom", ENQUEUED, STARTED, failed), Runs()),
        ("utf-16", good("utf-16", ENQUEUED, STARTED, failed).decode().encode("utf-16"), Runs()),
        ("two-spaces", json.dumps(json.loads(good("two-spaces", ENQUEUED, failed)), indent=2).encode(), Runs()),
        ("no-history", b'{\n "format": 1,\n "id": "l-no-history",\n "command": "%b"\n}\n' % RUN.encode(), Runs()),
        ("empty-history", good("empty-history").replace(b"\n  " + json.dumps(ENQUEUED).encode(), b""), Runs()),
        ("other-array", good("other-array").replace(b' "history": [', b' "history" : [],\n "z": ['), Runs()),
        ("format-2", good("format-2").replace(b'"format": 1', b'"format": 2'), Runs()),
        ("format-3", bad("format-3").replace(b'"format": 1', b'"format": 3'), Rejected("later queuectl")),
        ("format-99", doc(format=99), Rejected("later queuectl")),
        ("format-huge", bad("format-huge").replace(b'"format": 1', b'"format": 1' + b"0" * 400), Rejected("format")),
        ("format-text", bad("format-text").replace(b'"format": 1', b'"format": "1"'), Rejected("format")),
        ("format-real", bad("format-real").replace(b'"format": 1', b'"format": 1.0'), Rejected("format")),
        ("invalid-text", with_line(bad("invalid-text"), b' "z": "\xff"'), Rejected("not utf-8")),
        ("invalid-command", bad("invalid-command").replace(b"canary", b"\xff"), Rejected("not utf-8")),
        ("invalid-event", bad("invalid-event", {**ENQUEUED, "z": "@"}).replace(b"@", b"\xff"), Rejected("not utf-8")),
        ("deep", with_line(bad("deep"), b' "z": ' + b"[" * 100_000 + b"]" * 100_000), Rejected("nested too deep")),
        ("deep-900", with_line(bad("deep-900"), b' "z": ' + b"[" * 900 + b"]" * 900), Rejected("nested too deep")),
        ("deep-event", bad("deep-event", {**ENQUEUED, "z": 7}).replace(b": 7", b": " + b"[" * 900 + b"]" * 900), Rejected("nested too deep")),
        ("digits", with_line(bad("digits"), b' "z": ' + b"9" * 5000), Rejected("number")),
        ("1e999", with_line(bad("1e999"), b' "z": 1e999'), Rejected("too large")),
        ("nan", with_line(bad("nan"), b' "z": NaN'), Rejected("number")),
        ("nul-command", bad("nul-command", command="touch canary\0"), Rejected("NUL")),
        ("env-equals", bad("env-equals", env={"A=B": "1"}), Rejected("env")),
        ("empty-command", bad("empty-command", command=" "), Rejected("command: is empty")),
        ("surrogate", with_line(bad("surrogate"), b' "z": "\\ud800"'), Rejected("surrogate")),
        ("retries-huge", bad("retries-huge", max_retries=10**9), Rejected("max_retries")),
        ("backoff-huge", bad("backoff-huge", backoff_max=1e308), Rejected("backoff_max")),
        ("timeout-huge", bad("timeout-huge", timeout=1e300), Rejected("timeout")),
        ("other-id", framed("l-renamed", command=RUN), Runs("l-renamed")),
        ("id-up", framed("../../up"), Rejected("id: ")),
        ("id-device", framed("CON"), Rejected("id: ")),
        ("history-object", raw("history", "{}"), Rejected("history")),
        ("history-text", raw("history", '["x"]'), Rejected("history")),
        ("history-nameless", bad("history-nameless", {"event": "enqueued"}), Rejected("history")),
        ("history-types", bad("history-types", {"at": 1, "event": 2}), Rejected("history")),
        ("history-attempt-text", bad("history-attempt-text", event("started", attempt="1")), Rejected("history")),
        ("history-attempt-digits", bad("history-attempt-digits", event("started", attempt=7)).replace(b": 7", b": " + b"9" * 5000), Rejected("number")),
        ("history-inf", bad("history-inf", event("enqueued", delay_s=7)).replace(b": 7", b": 1e999"), Rejected("too large")),
        ("attempt-huge", good("attempt-huge", ENQUEUED, event("started", attempt=10**400, lease="x"), failed), Runs()),
        ("attempt-minus", good("attempt-minus", ENQUEUED, event("started", attempt=-5, lease="x"), failed), Runs()),
        ("code-huge", good("code-huge", ENQUEUED, event("failed", exit_code=10**300, to="pending")), Runs()),
        ("took-huge", good("took-huge", ENQUEUED, event("failed", duration_s=1e308, to="pending")), Runs()),
        ("to-up", good("to-up", ENQUEUED, STARTED, event("failed", attempt=1, to="../../etc")), Runs()),
        ("lease-up", good("lease-up", ENQUEUED, event("started", attempt=1, lease="../../x")), Runs()),
        ("lease-nul", good("lease-nul", ENQUEUED, event("started", attempt=1, lease="a\0b")), Runs()),
        ("lease-long", good("lease-long", ENQUEUED, event("started", attempt=1, lease="x" * 5000)), Runs()),
        ("lease-dots", good("lease-dots", ENQUEUED, event("started", attempt=1, lease="..")), Runs()),
        ("worker-escapes", good("worker-escapes", ENQUEUED, event("started", attempt=1, worker="\x1b[2J", lease="x")), Runs()),
        ("at-garbage", good("at-garbage", {"at": "yesterday", "event": "enqueued"}), Runs()),
        ("event-unknown", good("event-unknown", ENQUEUED, event("polished", z=[1, {"y": None}])), Runs()),
        ("due-garbage", good("due-garbage", {**ENQUEUED, "due_at": "soon"}), Runs()),
        ("due-delay", good("due-delay", {**ENQUEUED, "due_at": "9999-12-31T00:00:00Z", "delay_s": 1}), Runs()),
        ("due-far", bad("due-far", {**ENQUEUED, "due_at": "9999-12-31T00:00:00Z"}), Waits("l-due-far")),
        ("finished", good("finished", ENQUEUED, STARTED, DONE), Runs()),
        ("dead", good("dead", ENQUEUED, STARTED, DEAD), Runs()),
    ]  # fmt: skip
    for name, data, expect in cases:
        yield Case(f"like-{name}", "pending", f"l-{name}.json", holds(data), expect)


def _batches() -> Iterator[Case]:
    good, bad = doc(RUN).decode(), doc().decode()
    no_command, deep = '{"comand": "x"}', "[" * 300 + "]" * 300
    elements = f'1, "x", null, true, [], {{}}, {no_command}, {bad[:-1]}, "id": "../x"}}, {good}'
    doubled = f'{good[:-1]}, "id": "b-one"}}, {bad[:-1]}, "id": "B-ONE"}}'
    deep_bad = f'{{"z": {deep}}}'
    cases: list[tuple[str, str, bytes, Expect]] = [
        ("nothing", "json", b"[]", Rejected("empty array")),
        ("array-in-array", "json", b"[[]]", Splits(0, 1)),
        ("mixed", "json", f"[{elements}]".encode(), Splits(1, 8)),
        ("doubled", "json", f"[{doubled}]".encode(), Splits(1, 1)),
        ("deep-element", "json", f"[{good}, {deep}, {deep_bad}]".encode(), Splits(1, 2)),
        ("deeper", "json", f"[{good}, {'[' * 100000}{']' * 100000}]".encode(), Rejected("nested too deep")),
        ("infinite", "json", f'[{good}, {bad[:-1]}, "z": 1e999}}]'.encode(), Splits(1, 1)),
        ("surrogate", "json", f'[{good}, {bad[:-1]}, "z": "\\ud800"}}]'.encode(), Splits(1, 1)),
        ("format-3", "json", f'[{good}, {bad[:-1]}, "format": 3}}]'.encode(), Splits(1, 1)),
        ("escapes", "json", f'[{good}, {bad[:-1]}, "id": "\\u001b[2J\\n"}}]'.encode(), Splits(1, 1)),
        ("with-history", "json", f'[{good[:-1]}, "history": "x"}}]'.encode(), Splits(1)),
        ("cut", "json", f"[{bad}, {bad}".encode(), Rejected("not complete JSON")),
        ("lines", "jsonl", f"{good}\n\n{good}\r\n".encode(), Splits(2)),
        ("half-line", "jsonl", f"{bad}\n{bad[:20]}".encode(), Rejected("last line")),
        ("half-line-inside", "jsonl", f"{good}\n{bad[:20]}\n{good}\n".encode(), Splits(2, 1)),
        ("lines-of-all", "jsonl", f"{good}\n1\n[]\nnull\n{no_command}\n{deep}\nNaN\n".encode(), Splits(1, 6)),
        ("lines-deeper", "jsonl", f"{good}\n{'[' * 100000}\n{good}\n".encode(), Splits(2, 1)),
        ("lines-digits", "jsonl", f'{good}\n{{"z": {"9" * 5000}}}\n'.encode(), Splits(1, 1)),
        ("lines-twice", "jsonl", f'{good}\n{{"a": 1, "a": 2}}\n'.encode(), Splits(1, 1)),
        ("lines-empty", "jsonl", b"\n\n \n", Rejected("empty")),
        ("lines-nul", "jsonl", b"\0" * 5000, Rejected("empty")),
        ("lines-invalid", "jsonl", f"{bad}\n".encode() + b"\xff\n", Rejected("not utf-8")),
        ("lines-utf-16", "jsonl", f"{good}\n{good}\n".encode("utf-16"), Splits(2)),
        ("lines-of-array", "jsonl", f"[{bad}]\n".encode(), Splits(0, 1)),
    ]
    for name, ending, data, expect in cases:
        yield Case(f"batch-{name}", "pending", f"b-{name}.{ending}", holds(data), expect)
    generated = f"{_generated(200)}.json"
    yield Case("batch-generated", "pending", generated, holds(f"[{good}, {good}]".encode()), Splits(2))


def _running() -> Iterator[Case]:
    for kind, make in KINDS.items():
        yield Case(f"running-{kind}", "running", f"r-{kind}.json", make, Alone())
    failed = event("failed", attempt=1, exit_code=1, to="pending")

    def good(stem: str, *events: dict[str, Any], **keys: Any) -> bytes:
        return framed(f"r-{stem}", *events, command=RUN, **keys)

    def lease(text: str) -> dict[str, Any]:
        return event("started", attempt=1, worker="w", lease=text)

    long_id = "r" * 100
    cases: list[tuple[str, Make, Expect]] = [
        ("garbage", holds(b"touch canary"), Rejected("not complete JSON")),
        ("empty", holds(b""), Rejected("it is empty")),
        ("zeros", sparse(60 << 20), Rejected("larger than")),
        ("sparse", sparse(8 << 30), Rejected("larger than")),
        ("drop", holds(doc(RUN)), Runs()),
        ("batch", holds(b"[%b]" % doc(RUN)), Splits(1)),
        ("unstarted", holds(good("unstarted")), Runs()),
        ("started", holds(good("started", ENQUEUED, STARTED)), Runs()),
        ("used-up", holds(framed("r-used-up", ENQUEUED, STARTED, max_retries=0)), Runs(state="dlq", ran=False)),
        ("succeeded", holds(framed("r-succeeded", ENQUEUED, STARTED, DONE)), Runs(ran=False)),
        ("dead", holds(framed("r-dead", ENQUEUED, STARTED, DEAD)), Runs(state="dlq", ran=False)),
        ("to-up", holds(good("to-up", ENQUEUED, STARTED, {**failed, "to": "../../etc"})), Runs()),
        ("lease-up", holds(good("lease-up", ENQUEUED, lease("../../../outside"))), Runs()),
        ("lease-nul", holds(good("lease-nul", ENQUEUED, lease("a\0b"))), Runs()),
        ("lease-long", holds(good("lease-long", ENQUEUED, lease("x" * 5000))), Runs()),
        ("lease-dots", holds(good("lease-dots", ENQUEUED, lease(".."))), Runs()),
        ("id-up", holds(framed("../../up", ENQUEUED, STARTED)), Rejected("id: ")),
        ("id-up-done", holds(framed("../../../up", ENQUEUED, STARTED, DONE)), Rejected("id: ")),
        ("id-other", holds(framed("r-named-otherwise", command=RUN)), Runs("r-named-otherwise")),
        ("deep", holds(with_line(framed("r-deep"), b' "z": ' + b"[" * 100_000 + b"]" * 100_000)), Rejected("deep")),
        ("deep-900", holds(with_line(framed("r-deep-900"), b' "z": ' + b"[" * 900 + b"]" * 900)), Rejected("deep")),
        ("invalid", holds(framed("r-invalid").replace(b"canary", b"\xff")), Rejected("not utf-8")),
        ("twice", holds(with_line(framed("r-twice"), b' "command": "true"')), Rejected("twice")),
        ("retries-huge", holds(framed("r-retries-huge", max_retries=10**9)), Rejected("max_retries")),
        ("backoff", holds(framed("r-backoff", ENQUEUED, STARTED, backoff_max=1e308, backoff_base=1e6)), Rejected("backoff_max")),
        ("nul-tail", holds(good("nul-tail", ENQUEUED, STARTED) + b"\0" * 99), Runs()),
        ("second", holds(framed("r-second", ENQUEUED, STARTED) * 2), Rejected("there is more text")),
        ("hole", holds(good("hole", ENQUEUED, STARTED, failed).replace(b'"started"', b"\0" * 9)), Runs(copied="is damaged")),
    ]  # fmt: skip
    for name, make, expect in cases:
        yield Case(f"running-{name}", "running", f"r-{name}.json", make, expect)
    torn = framed(long_id, ENQUEUED, STARTED, command=RUN)[:-9]
    yield Case("running-long-name", "running", f"{'r' * 250}.json", holds(torn), Runs(long_id))
    yield Case("running-odd-name", "running", "r o\nd\x1bd.json", holds(b"{"), Rejected("not complete JSON"))


def _at_rest() -> Iterator[Case]:
    """Files in done/, dlq/ and rejected/, which the pool must leave as they are."""
    for state in ("done", "dlq", "rejected"):
        mark = "q" if state == "done" else state[0]

        def named(
            name: str, data: bytes | Make, expect: Expect | None = None, state: str = state, mark: str = mark
        ) -> Case:
            make = holds(data) if isinstance(data, bytes) else data
            return Case(f"{state}-{name}", state, f"{mark}-{name}.json", make, expect or Alone())

        end = DONE if state == "done" else DEAD
        for kind, make in KINDS.items():
            yield named(kind, make)
        for name, text in PAYLOADS.items():
            last = {**end, "reason": text, "z": text, text: text}
            events = (
                {**ENQUEUED, "by": text, "file": text},
                {**STARTED, "worker": text},
                event("warning", text=text),
                last,
            )
            yield named(f"payload-{name}", framed(f"{mark}-payload-{name}", *events, command=text, tags=[text], env={text: text}, cwd=text, note=text))  # fmt: skip
            yield Case(f"{state}-name-{name}", state, f"{mark}-{text.replace('/', '-')}.json", holds(doc()), Alone())
        yield named("empty", b"")
        yield named("garbage", b"\0\xff" * 5000)
        yield named("sparse", sparse(8 << 30))
        yield named("zeros", sparse(60 << 20))
        yield named("drop", doc())
        yield named("torn", framed(f"{mark}-torn", ENQUEUED, STARTED, end)[:-20])
        yield named("id-up", framed("../../up", ENQUEUED, STARTED, end))
        yield named("id-row", framed("x\nfake\tdone", ENQUEUED, STARTED, end))
        yield named("id-other", framed(f"{mark}-somebody-else", ENQUEUED, STARTED, end))
        yield named("deep", with_line(framed(f"{mark}-deep"), b' "z": ' + b"[" * 100_000 + b"]" * 100_000))
        yield named("deep-900", with_line(framed(f"{mark}-deep-900"), b' "z": ' + b"[" * 900 + b"]" * 900))
        yield named("deep-300", with_line(framed(f"{mark}-deep-300"), b' "z": ' + b"[" * 300 + b"]" * 300))
        yield named("digits", with_line(framed(f"{mark}-digits"), b' "z": ' + b"9" * 5000))
        yield named("attempt", framed(f"{mark}-attempt", ENQUEUED, event("started", attempt=7), end).replace(b": 7", b": " + b"9" * 4200))  # fmt: skip
        yield named("invalid", with_line(framed(f"{mark}-invalid"), b' "z": "\xff"'))
        yield named("invalid-command", framed(f"{mark}-invalid-command").replace(b"canary", b"\xff"))
        yield named("surrogate", with_line(framed(f"{mark}-surrogate"), b' "z": "\\ud800"'))
        yield named("infinite", with_line(framed(f"{mark}-infinite"), b' "z": 1e999'))
        yield named("twice", with_line(framed(f"{mark}-twice"), b' "id": "x"'))
        yield named("at-garbage", framed(f"{mark}-at-garbage", {**ENQUEUED, "at": "x"}, {**end, "at": "yesterday"}))
        yield named("at-local", framed(f"{mark}-at-local", {**end, "at": "2020-01-01T00:00:00"}))
        yield named("at-far", framed(f"{mark}-at-far", {**end, "at": "9999-12-31T23:59:59Z", "due_at": "9999-12-31T23:59:59Z"}))  # fmt: skip
        yield named("took", framed(f"{mark}-took", STARTED, {**end, "duration_s": 1e308, "delay_s": 1e308}))
        yield named("code", framed(f"{mark}-code", STARTED, {**end, "exit_code": 10**300}))
        yield named("lease-up", framed(f"{mark}-lease-up", {**STARTED, "lease": "../../../outside"}, end))
        yield named("no-events", framed(f"{mark}-no-events", event("polished")))
        yield named("batch", b"[%b]" % doc())
        yield named("format-2", framed(f"{mark}-format-2").replace(b'"format": 1', b'"format": 2'))
        yield named("format-3", framed(f"{mark}-format-3").replace(b'"format": 1', b'"format": 3'))
        yield named("many", lambda path, mark=mark, end=end: _write(path, framed(f"{mark}-many", *([STARTED, end] * 20_000))))  # type: ignore[misc]  # fmt: skip
    yield Case("done-taken", "done", "q-taken.json", holds(framed("q-taken", ENQUEUED, STARTED, DONE)), Alone())
    yield Case(
        "done-link-target", "done", "q-link-target.json", holds(framed("q-link-target", ENQUEUED, DONE)), Alone()
    )


def _all() -> Iterable[Case]:
    groups = (_kinds, _sizes, _truncations, _encodings, _depths, _keys, _numbers, _types, _texts, _ids, _names)
    groups += (_look_alikes, _batches, _running, _at_rest)  # type: ignore[assignment]
    for group in groups:
        yield from group()


def _is_possible(case: Case) -> bool:
    """True where this system can have a file of this name and kind."""
    stem = case.file.partition(".")[0].rstrip(" ").lower()
    return os.name != "nt" or not (
        any(sign in case.file or ord(sign) < 32 for sign in '<>:"/\\|?*')
        or any(ord(sign) < 32 or "\ud800" <= sign <= "\udfff" for sign in case.file)
        or case.file.endswith((".", " "))
        or case.file != case.file.strip()
        or stem in ("con", "nul", "aux", "prn", "com1", "lpt9")
        or case.make in KINDS.values()
    )


CORPUS: list[Case] = [case for case in _all() if _is_possible(case)]
