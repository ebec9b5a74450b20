"""What producers who are not trusted try: every one is refused with a reason, and no canary is ever run (P10).

A case is what somebody drops into an inbox. It is judged as a receiver judges it (`document.parse`, `admission.admit`);
should it be admitted, its command is really started, so that an escape would leave the canary.
"""

# ruff: noqa: E501, PIE804 (a case is a row of a table; keys in other letters)

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from queuectl.errors import InvalidJobError, QueuectlError
from queuectl.inbox import admission, keyfile, signing
from queuectl.inbox.admission import Admitted
from queuectl.inbox.signing import Keys
from queuectl.model import command, document, times
from queuectl.model.settings import Settings, parse
from queuectl.model.text import safe
from tests.helpers import make_spool, wait_until
from tests.pool import Pool

CANARY = "canary"
# The real one: the corpus is dropped beside a pool, too.
NOW_AT = float(int(time.time()))
POSIX = os.name != "nt"
LINKS = pytest.mark.skipif(not POSIX, reason="makes links and FIFOs")


class Ground(NamedTuple):
    """Two inboxes, the folders that commands may see, and a place outside of them."""

    root: Path
    settings: Settings
    keys: Keys
    secret: bytes

    def signed(self, job: dict[str, Any] | str, /, **changes: Any) -> dict[str, Any]:
        """A signed drop, with the envelope's keys changed afterwards."""
        text = job if isinstance(job, str) else json.dumps(job)
        return {"payload": text, "key": "anna", "hmac": signing._proof(text, self.secret), **changes}


Make = Callable[[Ground], Any]


class Case(NamedTuple):
    """One attempt: its kind, a name, the inbox it is dropped into, its content, and a part of the refusal."""

    kind: str
    name: str
    mode: str
    content: Make
    why: str


def template(**keys: Any) -> dict[str, Any]:
    """A good drop for the command `show`, changed."""
    return {"template": "show", "params": {"in": "a.png", "word": "plain"}, **keys}


def params(**given: Any) -> Make:
    """A drop whose parameters are changed."""
    return lambda _: template(params={"in": "a.png", "word": "plain", **given})


def job(**keys: Any) -> dict[str, Any]:
    """What a signed job holds, changed: None takes a key away."""
    made = {"id": "s1", "for": "here", "command": ["touch", CANARY], "expires_at": times.to_text(NOW_AT + 3600), **keys}
    return {key: value for key, value in made.items() if value is not None}


def case(kind: str, name: str, content: Make, why: str, mode: str = "templates") -> Case:
    """A row of the table."""
    return Case(kind, name, mode, content, why)


OUT = "is not in"
TRAVERSAL = [
    case("traversal", text, params(**{"in": text}), OUT)
    for text in ("../secret", "../../etc/passwd", "a/../../secret", "./../secret", "sub/../../in2/x", "..", ".", "sub/..", "none/../../secret",
                 "../in", "../in2/x", "../in/../secret", "../IN/../secret", "sub/./../../secret")
] + [
    case("traversal", "four dots", params(**{"in": "....//../../secret"}), OUT if POSIX else "ends in a dot"),
] + [
    case("traversal", f"absolute {text}", params(**{"in": text}), OUT)
    for text in ("/etc/passwd", "/", "//etc/passwd", "/proc/self/environ", "/dev/stdin", "/srv/in/../../etc/passwd")
    if POSIX
] + [
    case("traversal", "home", params(**{"in": "~/secret"}), "begins with ~"),
    case("traversal", "home of root", params(**{"in": "~root/x"}), "begins with ~"),
    case("traversal", "empty", params(**{"in": ""}), "is empty"),
    case("traversal", "blank", params(**{"in": " "}), "is empty"),
    case("traversal", "too long a name", params(**{"in": "x" * 300}), "cannot be looked up" if POSIX else ""),
    case("traversal", "not there", params(**{"in": "missing.png"}), "does not exist"),
]  # fmt: skip
LINKED = [
    case("link", text, params(**{"in": text}), why)
    for text, why in (("link-file", OUT), ("link-folder/secret", OUT), ("link-up/secret", OUT), ("link-root/etc/passwd", OUT),
                      ("link-nowhere", OUT), ("link-chain", OUT), ("loop", "form a loop"), ("loop/x", "form a loop"), ("a.png/x", "cannot be looked up"),
                      ("link-proc/environ", OUT))
]  # fmt: skip
ARGUMENTS = [
    case("argument", text, params(word=text), "begins with -")
    for text in ("-rf", "--help", "-", "--", "-o/etc/passwd", "--checkpoint-action=exec=touch canary", "-exec", "-c")
] + [
    case("argument", f"in the path: {text!a}", params(**{"in": text}), "")
    for text in ("-rf", "--output=x", "a.png b.png", "a.png;touch canary", "$(touch canary)", "`touch canary`", "a.png\ntouch canary", "*", "{word}", "|touch canary")
] + [
    case("argument", f"not fitting {text!a}", params(size=text), "does not match")
    for text in ("80x60;touch canary", "80x60 $(touch canary)", "80x60|x", "", " 80x60", "80x60 ", "8" * 9, "80X60", "８０x６０0", "80x60x", "a80x60")
] + [
    case("argument", f"no choice {text!a}", params(format=text), "is not one of")
    for text in ("PNG", "png ", " png", "png,jpg", "../png", "png;touch canary", "", "ｐｎｇ")
] + [
    case("argument", f"no number {value!r}", params(q=value), "takes a whole number")
    for value in (True, False, 1.0, 1e300, "5", "5; touch canary", None, [], {}, 0, 101, -1, 2**80, [5])
] + [
    case("argument", f"no text {value!r}", params(word=value), "takes a text")
    for value in (5, None, True, ["-c", "touch canary"], {"a": 1}, 1.5, [])
] + [
    case("argument", "too long", params(word="x" * 5000), "is longer than"),
    case("argument", "long for a pattern", params(size="1" * 300), "is longer than"),
]  # fmt: skip
CHARACTERS = [
    case("unicode", ascii(character), params(word=f"a{character}b"), "")
    for character in ("\0", "\n", "\r", "\t", "\x1b", "\x07", "\x08", "\x7f", "\x85", "\x9b", "\u200b", "\u200d", "\u202e", "\u2066", "\u2028", "\u2029",
                      "\ufeff", "\xad", "\u2060", "\ufe0f", "\U000e0041", "\ud800", "\udfff", "\u115f", "\u3164")
] + [
    case("unicode", f"path {character!a}", params(**{"in": f"a{character}.png"}), "")
    for character in ("\0", "\n", "\x1b", "\u202e", "\ud800", "\u200b")
] + [
    case("unicode", "a name in other letters", lambda _: template(template="ѕhow"), "there is no command"),
    case("unicode", "a key in other letters", lambda _: template(**{"сommand": "touch canary"}), "is not allowed in this inbox"),
    case("unicode", "a parameter in other letters", params(**{"wоrd": "x"}), "no such parameter"),
]  # fmt: skip
SMUGGLED = [
    case("smuggling", key, lambda _, key=key, value=value: template(**{key: value}), f"{key}: is not allowed in this inbox")
    for key, value in {
        "command": "touch canary", "env": {"LD_PRELOAD": "x.so"}, "cwd": "/tmp", "shell": "sh", "timeout": 1e9, "id": "other-1", "owner": "root",
        "minimal_env": False, "history": [], "format": 1, "max_retries": 1000000, "backoff_base": 0, "backoff_max": 0, "jitter": 0,
        "no_retry_exit_codes": [], "argv": ["touch", CANARY], "Command": "touch canary", "COMMAND": "touch canary", "command ": "x", "": "x",
        "signed_by": "anna", "expires_at": "x", "payload": "{}", "name": "x", "state": "done", "attempts": 9, "__class__": "x", "key": "anna", "hmac": "0",
        "queue": "mail", "stdin": "x", "stdin_file": "/etc/passwd", "snooze_exit_codes": [1], "snooze_max": "7d", "give_up_after": "1d",
        "expires_after": "1h", "output_max": "9G", "retry_exit_codes": [1], "after": "other-1", "ref": "a",
    }.items()
] + [
    case("smuggling", "no template", lambda _: {"command": "touch canary"}, "is not allowed in this inbox"),
    case("smuggling", "only params", lambda _: {"params": {}}, "template: is missing"),
    *(case("smuggling", f"template {value!r}", lambda _, value=value: template(template=value), "template") for value in (
        "", "Show", "show ", "../show", "show\0", "sh", None, 5, ["show"], {"argv": ["touch", CANARY]}, "__init__")),
    *(case("smuggling", f"params {value!r}", lambda _, value=value: template(params=value), "params") for value in (
        None, [], "x", 5, ["a.png"], {}, {"in": "a.png"}, {"word": "x"}, {"in": "a.png", "word": "x", "argv": []}, {"in": "a.png", "word": "x", "": 1})),
    *(case("smuggling", f"priority {value!r}", lambda _, value=value: template(priority=value), "priority") for value in (1, 999999, True, 0.5, "9", None, -10**9)),
    *(case("smuggling", f"tags {str(value)[:20]}", lambda _, value=value: template(tags=value), "tags") for value in ("x", [5], ["x" * 99], ["x"] * 99, None, ["\x1b[2J"], {"a": 1})),
    *(case("smuggling", f"time {key}", lambda _, key=key, value=value: template(**{key: value}), key) for key, value in {
        "delay": -5, "run_at": "tomorrow"}.items()),
    *(case("smuggling", f"{key} is no text", lambda _, key=key: template(**{key: {"a": 1}}), key) for key in ("description", "comment", "notes")),
    case("smuggling", "an endless text", lambda _: template(comment="x" * 5000), "comment"),
]  # fmt: skip
DOCUMENTS = [
    case("document", name, lambda _, text=text: text, why)
    for name, text, why in (
        ("a key twice", b'{"template": "show", "template": "other", "params": {}}', "twice"),
        ("a parameter twice", b'{"template": "show", "params": {"in": "a.png", "in": "../secret", "word": "x"}}', "twice"),
        ("deep", b'{"template": "show", "params": {"in": ' + b"[" * 200 + b"]" * 200 + b"}}", "deep"),
        ("very deep", b"[" * 200_000 + b"]" * 200_000, "deep"),
        ("NaN", b'{"template": "show", "params": {"q": NaN}}', "number"),
        ("Infinity", b'{"template": "show", "params": {"q": -Infinity}}', "number"),
        ("digits", b'{"template": "show", "params": {"q": ' + b"9" * 5000 + b"}}", "number"),
        ("an array", b'[{"template": "show", "params": {}}]', "many"),
        ("a text", b'"touch canary"', "object"),
        ("a number", b"5", "object"),
        ("null", b"null", "object"),
        ("nothing", b"", "empty"),
        ("NUL bytes", b"\0" * 100, "NUL"),
        ("a shell script", b"#!/bin/sh\ntouch canary\n", "not complete"),
        ("two objects", b'{"template": "show"}{"command": "touch canary"}', "not complete"),
        ("a comment", b'{"template": "show" /* x */}', "not complete"),
        ("not UTF-8", b'{"template": "sh\xffow"}', "text"),
        ("overlong UTF-8", b'{"template": "show", "params": {"in": "\xc0\xae\xc0\xae/secret", "word": "x"}}', "text"),
    )
]  # fmt: skip
SIGNED = [
    case("signed", name, content, why, "signed")
    for name, content, why in (
        ("not signed", lambda _: job(), "only signed"),
        ("a template", lambda _: template(), "only signed"),
        ("payload changed", lambda g: g.signed(job(), payload=json.dumps(job(command="touch canary"))), "does not match"),
        ("one blank more", lambda g: g.signed(job(), payload=json.dumps(job()) + " "), "does not match"),
        ("expiry changed", lambda g: g.signed(job(), payload=json.dumps(job(expires_at=times.to_text(NOW_AT + 7200)))), "does not match"),
        ("hmac of nothing", lambda g: g.signed(job(), hmac=""), "64 lowercase hex"),
        ("hmac null", lambda g: g.signed(job(), hmac=None), "is missing"),
        ("hmac true", lambda g: g.signed(job(), hmac=True), "is missing"),
        ("hmac cut", lambda g: g.signed(job(), hmac="ab"), "64 lowercase hex"),
        ("hmac zeros", lambda g: g.signed(job(), hmac="0" * 64), "does not match"),
        ("hmac in capitals", lambda g: g.signed(job(), hmac=signing._proof(json.dumps(job()), g.secret).upper()), "64 lowercase hex"),
        ("hmac and a line feed", lambda g: g.signed(job(), hmac="0" * 64 + "\n"), "64 lowercase hex"),
        ("plain sha256", lambda g: g.signed(job(), hmac=__import__("hashlib").sha256(json.dumps(job()).encode()).hexdigest()), "does not match"),
        ("without domain", lambda g: g.signed(job(), hmac=__import__("hmac").new(g.secret, json.dumps(job()).encode(), "sha256").hexdigest()), "does not match"),
        ("empty key", lambda g: g.signed(job(), hmac=signing._proof(json.dumps(job()), b"")), "does not match"),
        ("another's key", lambda g: g.signed(job(), key="bert"), "does not match"),
        ("unknown key", lambda g: g.signed(job(), key="carl"), "no key"),
        *((f"key {key!a}", lambda g, key=key: g.signed(job(), key=key), "key") for key in (
            "", "../anna", "/etc/passwd", "anna.key", "anna\0", "anna/../bert", ".", "a--b", "anna-", "x" * 300, "con", "link", "fifo", "open", "short", "same", "empty", "folder", "binary")),
        ("one key more", lambda g: g.signed(job(), command="touch canary"), "is not allowed next to"),
        ("payload is an object", lambda g: g.signed(job(), payload=job()), "is missing"),
        ("no id", lambda g: g.signed(job(id=None)), "id: is missing"),
        ("id is a number", lambda g: g.signed(job(id=5)), "id: is missing"),
        ("id leads out", lambda g: g.signed(job(id="../x")), "may contain only"),
        ("no expiry", lambda g: g.signed(job(expires_at=None)), "expires_at"),
        ("expired", lambda g: g.signed(job(expires_at=times.to_text(NOW_AT - 1))), "has passed"),
        ("expires now", lambda g: g.signed(job(expires_at=times.to_text(NOW_AT))), "has passed"),
        ("for ever", lambda g: g.signed(job(expires_at="9999-01-01T00:00:00Z")), "days ahead"),
        ("expiry without a zone", lambda g: g.signed(job(expires_at="2027-01-15T09:00:00")), "time zone"),
        ("expiry is a number", lambda g: g.signed(job(expires_at=NOW_AT + 60)), "expires_at"),
        ("for nobody", lambda g: g.signed(job(**{"for": None})), "which queue it is for"),
        ("for another", lambda g: g.signed(job(**{"for": "there"})), "signed for"),
        ("for here in capitals", lambda g: g.signed(job(**{"for": "HERE"})), "signed for"),
        ("for a list", lambda g: g.signed(job(**{"for": ["here"]})), "signed for"),
        ("for true", lambda g: g.signed(job(**{"for": True})), "signed for"),
        ("for, changed afterwards", lambda g: g.signed(job(**{"for": "there"}), payload=json.dumps(job())), "does not match"),
        ("a history", lambda g: g.signed(job(history=[])), "history"),
        ("a format", lambda g: g.signed(job(format=1)), "format"),
        ("another's owner", lambda g: g.signed(job(owner="root")), "belong to"),
        ("no command", lambda g: g.signed(job(command=None)), "command: is missing"),
        ("payload is an array", lambda g: g.signed("[" + json.dumps(job()) + "]"), "an array"),
        ("payload is no JSON", lambda g: g.signed("touch canary"), "payload"),
        ("payload with a key twice", lambda g: g.signed('{"id": "a", "id": "b"}'), "twice"),
        ("payload is deep", lambda g: g.signed('{"id": ' + "[" * 500 + "]" * 500 + "}"), "deep"),
        ("payload with half a pair", lambda g: {"payload": "\ud800", "key": "anna", "hmac": "0" * 64}, "surrogate"),
    )
]  # fmt: skip
CORPUS = [*TRAVERSAL, *ARGUMENTS, *CHARACTERS, *SMUGGLED, *DOCUMENTS, *SIGNED]
# Not refused, because nothing in them can act: they reach the command as the one word that they are.
LITERAL = ("; touch canary", "$(touch canary)", "`touch canary`", "| touch canary", "& touch canary", "&& touch canary", "> canary", "a b", '"', "'",
           "\\", "$HOME", "%PATH%", "!x!", "*", "?", "{in}", "{word}", "{0}", "%s", "#", "~", "@file", "=x", "ü", "日本", "x -rf")  # fmt: skip


def make_ground(root: Path) -> Ground:
    """The folders, the keys and the settings."""
    for folder in ("in/sub", "in2", "keys", "drop/templates", "drop/signed"):
        (root / folder).mkdir(parents=True)
    (root / "in" / "a.png").write_text("x")
    (root / "secret").write_text("secret")
    (root / "in2" / "x").write_text("secret")
    keys = root / "keys"
    os.chmod(keys, 0o700)
    for name in ("anna", "bert", "open"):
        keyfile.create(str(keys / f"{name}.key"))
    for name, data in {"short": b"x1y2", "same": b"a" * 64, "empty": b"", "binary": bytes(range(256))}.items():
        (keys / f"{name}.key").write_bytes(data)
        os.chmod(keys / f"{name}.key", 0o600)
    (keys / "folder.key").mkdir()
    if POSIX:
        os.chmod(keys / "open.key", 0o644)
        os.symlink("anna.key", keys / "link.key")
        os.mkfifo(keys / "fifo.key", 0o600)
        for name, target in {"link-file": "../secret", "link-folder": "..", "link-up": "sub/../..", "link-root": "/", "link-nowhere": "../made-later",
                             "link-chain": "link-file", "loop": "loop", "link-proc": "/proc/self"}.items():  # fmt: skip
            os.symlink(target, root / "in" / name)
    word = json.dumps(str(root / "in"))
    text = f"""
[commands.show]
argv = [{json.dumps(sys.executable)}, "-S", "-c", "import sys; sys.stdout.reconfigure(encoding='utf-8'); print(*sys.argv[1:], sep='\\n')", "{{in}}", "{{word}}", "{{size}}", "{{format}}", "{{q}}"]
[commands.show.params]
in = {{type = "path", under = {word}, exists = true}}
word = {{type = "match", pattern = ".*"}}
size = {{type = "match", pattern = "[0-9]{{1,4}}x[0-9]{{1,4}}", default = "80x60"}}
format = {{type = "choice", of = ["png", "jpg"], default = "png"}}
q = {{type = "int", min = 1, max = 100, default = 80}}
[[inbox]]
path = {json.dumps(str(root / "drop" / "templates"))}
mode = "templates"
[[inbox]]
path = {json.dumps(str(root / "drop" / "signed"))}
mode = "signed"
keys = {json.dumps(str(keys))}
"""
    secret = keyfile.read(str(keys / "anna.key"))
    return Ground(root, parse(text.replace("\\n')", "\\\\n')")), Keys(str(keys)), secret)


def judge(ground: Ground, mode: str, content: Any) -> Admitted | str:
    """What becomes of a drop: the admitted job, or why it is refused."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    parsed = document.parse(data, lines=False)
    if isinstance(parsed, document.Many):
        return "it holds many jobs"
    if not isinstance(parsed, document.Single):
        return parsed.why
    (inbox,) = [each for each in ground.settings.inboxes if each.mode == mode]
    keys = ground.keys if mode == "signed" else None
    try:
        return admission.admit(
            parsed.document,
            admission.Rules(inbox, ground.settings.commands, keys, "here"),
            stem="drop",
            now_at=NOW_AT,
        )
    except InvalidJobError as error:
        return str(error)


def run(ground: Ground, admitted: Admitted) -> str:
    """Start what was admitted, as a worker would; what it printed."""
    command = admitted.document["command"]
    done = subprocess.run(
        command, shell=isinstance(command, str), cwd=ground.root, capture_output=True, timeout=60, check=False
    )
    return done.stdout.decode("utf-8")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """See `Ground`: it is only looked at."""
    return make_ground(tmp_path_factory.mktemp("ground"))


def complaints(ground: Ground, cases: list[Case]) -> list[str]:
    """What was not refused, or not for its reason; or whose reason could act on a terminal or tells a secret."""
    wrong = []
    for each in cases:
        verdict = judge(ground, each.mode, each.content(ground))
        where = f"{each.kind}: {safe(each.name)}"
        if isinstance(verdict, Admitted):
            wrong.append(f"{where}: admitted")
            with contextlib.suppress(FileNotFoundError):  # Windows has none of these programs
                run(ground, verdict)
        elif each.why not in verdict or not verdict:
            wrong.append(f"{where}: {safe(verdict)}")
        elif safe(verdict) != verdict or ground.secret.decode() in verdict:
            wrong.append(f"{where}: its reason is not fit to be shown")
    return wrong


def test_every_attempt_is_refused_with_a_reason(ground: Ground) -> None:
    """P10: traversal, arguments, unicode, smuggled keys, documents, signatures: all refused, no canary runs."""
    cases = [*CORPUS, *(LINKED if POSIX else [])]
    if not POSIX:
        cases = [each for each in cases if each.name not in ("key 'link'", "key 'fifo'", "key 'open'")]
    kinds = {each.kind: sum(other.kind == each.kind for other in cases) for each in cases}
    print(f"{len(cases)} attempts: {kinds}")
    assert complaints(ground, cases) == []
    assert not list(ground.root.rglob(CANARY))


def test_what_is_admitted_is_one_word_each(ground: Ground) -> None:
    """P10: what shells would act on reaches the command as the word that it is."""
    for text in LITERAL:
        verdict = judge(ground, "templates", template(params={"in": "a.png", "word": text}))
        assert isinstance(verdict, Admitted), (text, verdict)
        assert verdict.document["command"][5] == text
    for text in LITERAL[:3]:
        verdict = judge(ground, "templates", template(params={"in": "a.png", "word": text}))
        assert isinstance(verdict, Admitted)
        real = os.path.realpath(ground.root / "in" / "a.png")
        assert run(ground, verdict).splitlines() == [real, text, "80x60", "png", "80"]
    assert not list(ground.root.rglob(CANARY))


def test_a_signed_job_is_admitted(ground: Ground) -> None:
    """The corpus is refused for what is wrong in it: the same job, signed, is taken."""
    verdict = judge(ground, "signed", ground.signed(job()))
    assert isinstance(verdict, Admitted), verdict
    assert (verdict.key, verdict.job_id, verdict.expires_at) == ("anna", "s1", NOW_AT + 3600)


def test_these_checks_can_fail(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that lets everything pass is found out, and so is a proof that always fits."""
    monkeypatch.setattr(command, "word_of", lambda _name, _param, value, *, resolve: str(value))
    assert len(complaints(ground, [*TRAVERSAL[:3], *ARGUMENTS[:3]])) == 6
    monkeypatch.setattr(signing.hmac, "compare_digest", lambda _a, _b: True)
    assert len(complaints(ground, [each for each in SIGNED if each.why == "does not match"])) >= 7
    (ground.root / CANARY).unlink(missing_ok=True)


WINDOWS_PATHS = [
    (text, command.why_bad_path(text, windows=True))
    for text in (
        r"C:x", r"C:..\x", r"\\host\share\x", r"//host/share/x", r"\\?\C:\x", r"\\.\PhysicalDrive0", r"\??\C:\x", r"\x", "/x", r"a:b", r"a.png:stream",
        r"a.png::$DATA", r"C:\in\a.png:x", "con", "CON.png", "aux", r"sub\nul", "sub/com1.txt", "LPT9", "COM¹", "conin$", "a.png.", "a.png ", r"sub.\a", r"sub \a",
        "...", "a*", "a?", 'a"b', "a<b", "a>b", "a|b", r"\/host/x", r"/\host\x", "prn .txt", "C:",
    )
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), WINDOWS_PATHS)
def test_windows_path_tricks_are_refused_before_anything_is_looked_up(text: str, why: str) -> None:
    """Drives, machines, devices, streams and ends that Windows drops; the check is the same on every system."""
    assert why, text


@pytest.mark.parametrize(
    "text", [r"a.png", r"sub\a.png", "sub/a.png", r"C:\in\a.png", "C:/in/a.png", r"..\x", "ü b.png"]
)
def test_ordinary_windows_paths_pass(text: str) -> None:
    """What the disk then decides."""
    assert command.why_bad_path(text, windows=True) == ""


SETTINGS = {
    "sh -c {x}": 'argv = ["sh", "-c", "{x}"]',
    "bash -ec {x}": 'argv = ["/bin/bash", "-ec", "{x}"]',
    "env sh -c": 'argv = ["/usr/bin/env", "sh", "-c", "{x}"]',
    "python -c": 'argv = ["/usr/bin/python3.11", "-c", "{x}"]',
    "python FILE": 'argv = ["python3", "{x}"]',
    "perl -e": 'argv = ["perl", "-e", "{x}"]',
    "node --eval": 'argv = ["node", "--eval", "{x}"]',
    "awk": 'argv = ["awk", "{x}"]',
    "cmd /c": 'argv = ["cmd.exe", "/c", "type", "{x}"]',
    "powershell -Command": 'argv = ["powershell", "-Command", "Get-Item", "{x}"]',
    "pwsh -EncodedCommand": 'argv = ["pwsh", "-EncodedCommand", "{x}"]',
    "the program": 'argv = ["{x}"]',
    "a part of a word": 'argv = ["echo", "--out={x}"]',
    "a batch file": 'argv = ["x.bat", "{x}"]',
    "a batch file by dots": 'argv = ["x.cmd. .", "{x}"]',
    "a relative program": 'argv = ["bin/x", "{x}"]',
    "a relative cwd": 'argv = ["echo", "{x}"]\ncwd = "x"',
    "a NUL": 'argv = ["echo\\u0000", "{x}"]',
    "a variable with =": 'argv = ["echo", "{x}"]\nenv = {"A=B" = "x"}',
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_no_check_could_make_safe_are_refused(name: str) -> None:
    """P10: a command that would run a producer's text as a program never gets as far as a job."""
    with pytest.raises(QueuectlError):
        parse(f"[commands.c]\n{SETTINGS[name]}\n[commands.c.params]\nx = {{type = 'match', pattern = '.*'}}\n")


@pytest.mark.skipif(
    importlib.util.find_spec("queuectl.inbox.process") is None, reason="nothing takes in what lies in an inbox yet"
)
@pytest.mark.parametrize("mode", ["templates", "signed"])
def test_the_corpus_in_a_real_inbox_beside_a_pool(tmp_path: Path, mode: str) -> None:
    """P10: dropped into an inbox of a running pool, each lies there as NAME.rejected beside its reason; none runs."""
    ground = make_ground(tmp_path)
    for name in ("short", "same", "empty", "binary", "open", "fifo", "link"):  # the pool would refuse to start
        (ground.root / "keys" / f"{name}.key").unlink(missing_ok=True)
    (ground.root / "keys" / "folder.key").rmdir()
    spool = make_spool(tmp_path / "spool")
    word, drop = json.dumps(sys.executable), ground.root / "drop" / mode
    lines = ["settle_s = 0.3", "[[inbox]]", f"path = {json.dumps(str(drop))}", f'mode = "{mode}"']
    lines += [f"keys = {json.dumps(str(ground.root / 'keys'))}", 'audience = "here"'] if mode == "signed" else []
    lines += ["[commands.show]", f'argv = [{word}, "-c", "", "{{in}}", "{{word}}"]', "[commands.show.params]"]
    lines += [f"in = {{type = 'path', under = {json.dumps(str(ground.root / 'in'))}, exists = true}}"]
    lines += ["word = {type = 'match', pattern = '.*'}"]
    Path(spool.settings_path).write_text("\n".join(lines))
    # What is wrong in a parameter that this command lacks is refused all the same: there is none of that name.
    cases = [each for each in CORPUS if each.mode == mode]
    with Pool(spool, count=1, cwd=tmp_path) as pool:
        pool.ready()
        for number, each in enumerate(cases):
            content = each.content(ground)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            temporary = drop / f".case-{number}.tmp"
            temporary.write_bytes(data)
            temporary.rename(drop / f"case-{number}.json")
        names = {f"case-{number}.json.rejected" for number in range(len(cases))}
        wait_until(lambda: names <= set(os.listdir(drop)), 60)
    for number in range(len(cases)):
        assert (drop / f"case-{number}.json.rejected.txt").read_text(encoding="utf-8").strip()
    assert not list(tmp_path.rglob(CANARY))
