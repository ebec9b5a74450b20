"""`queuectl sign`: keys and signed jobs, on a machine without a spool."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest

from queuectl.errors import InvalidJobError
from queuectl.inbox import keyfile, signing
from queuectl.inbox.signing import Keys
from queuectl.model import times
from tests.cli.commands import Commands, run

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


def verified(text: str, folder: Path, audience: str = "farm") -> signing.Verified:
    """A signed job, judged as an inbox does."""
    return signing.verify(json.loads(text), Keys(str(folder)), audience=audience, now_at=time.time())


def test_the_commands_of_the_document_sign_a_job(queuectl: Commands, home: Path) -> None:
    """P10: a new key only its owner can read, and a job that an inbox with that key takes."""
    (home / "job.json").write_text('{"command": "echo hello"}')
    typed = re.findall(r"^    queuectl (sign .*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(typed) == 2
    for words in typed:
        queuectl(*shlex.split(words))
    if os.name != "nt":
        assert (home / "anna.key").stat().st_mode & 0o777 == 0o600
    made = verified((home / "signed.json").read_text(), home)
    assert (made.key, made.document["command"], made.document["id"]) == ("anna", "echo hello", made.job_id)
    assert 3500 < made.expires_at - time.time() <= 3600
    assert sorted(os.listdir(home)) == ["anna.key", "job.json", "signed.json"]


def test_it_needs_no_spool(home: Path, tmp_path: Path) -> None:
    """A producer's machine has only the program, a key and a job on standard input."""
    run("sign", "--new-key", "k.key")
    text = run(
        "sign", "-", "--for", "farm", "--key", "k.key", "--expires", "10m", stdin=b'{"id": "mine", "command": ["true"]}'
    ).out
    assert verified(text, home).job_id == "mine"
    assert not (tmp_path / "data").exists()


def test_nothing_is_replaced(queuectl: Commands, home: Path) -> None:
    """A key and a signed file that are there stay as they are."""
    queuectl("sign", "--new-key", "k.key")
    before = (home / "k.key").read_bytes()
    queuectl("sign", "--new-key", "k.key", code=2)
    assert (home / "k.key").read_bytes() == before
    (home / "out.json").write_text("x")
    queuectl("sign", "-", "--for", "farm", "--key", "k.key", "--out", "out.json", stdin='{"command": "true"}', code=2)
    assert sorted(os.listdir(home)) == ["k.key", "out.json"] and (home / "out.json").read_text() == "x"


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        ([], "", 2),
        (["-"], "{}", 2),
        (["-", "--for", "farm", "--key", "none.key"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "bad--name.key"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "k.key", "--expires", "32d"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "k.key", "--expires", "0"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "k.key", "--expires", "soon"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "short.key"], '{"command": "true"}', 2),
        (["-", "--for", "farm", "--key", "k.key"], '[{"command": "true"}, {"command": "true"}]', 5),
        (["-", "--for", "farm", "--key", "k.key"], '{"cmd": "true"}', 5),
        (["-", "--for", "farm", "--key", "k.key"], '{"command": "true", "history": []}', 5),
        (["-", "--for", "farm", "--key", "k.key"], '{"command": "true", "for": "farm"}', 5),
        (["-", "--key", "k.key"], '{"command": "true"}', 2),
        (["-", "--for", "no name", "--key", "k.key"], '{"command": "true"}', 2),
        (["--new-key", "x.key", "--for", "farm"], "", 2),
        (["--new-key", "no ending"], "", 2),
    ],
)
def test_what_cannot_be_signed_is_told(queuectl: Commands, home: Path, words: list[str], stdin: str, code: int) -> None:
    """Usage errors are 2, jobs that are none 5; a key's text is never printed."""
    keyfile.create(str(home / "k.key"))
    (home / "short.key").write_text("hunter2")
    (home / "short.key").chmod(0o600)
    result = queuectl("sign", *words, stdin=stdin, code=code)
    assert "hunter2" not in result.err + result.out


@pytest.mark.skipif(os.name == "nt", reason="access lists are not judged")
def test_a_key_that_others_can_read_is_not_used(queuectl: Commands, home: Path) -> None:
    """P10: as ssh does, with the command that closes it."""
    keyfile.create(str(home / "k.key"))
    (home / "k.key").chmod(0o644)
    result = queuectl("sign", "-", "--for", "farm", "--key", "k.key", stdin='{"command": "true"}', code=1)
    assert "chmod 600 k.key" in result.err


def test_an_expired_job_is_refused(queuectl: Commands, home: Path) -> None:
    """What was signed for a minute is nothing a minute later."""
    queuectl("sign", "--new-key", "k.key")
    text = queuectl("sign", "-", "--for", "farm", "--key", "k.key", "--expires", "1m", stdin='{"command": "true"}').out
    later_at = times.from_text(json.loads(json.loads(text)["payload"])["expires_at"])
    with pytest.raises(InvalidJobError, match="has passed"):
        signing.verify(json.loads(text), Keys(str(home)), audience="farm", now_at=later_at)


def test_a_job_is_signed_for_one_queue(queuectl: Commands, home: Path) -> None:
    """P10: another queue with the same key does not take it, and the queue's name is under the signature."""
    queuectl("sign", "--new-key", "k.key")
    text = queuectl("sign", "-", "--for", "farm", "--key", "k.key", stdin='{"command": "true"}').out
    assert signing.AUDIENCE not in verified(text, home).document
    with pytest.raises(InvalidJobError, match="signed for 'farm', but this inbox accepts jobs signed for 'mill'") as no:
        verified(text, home, "mill")
    assert no.value.hint == "queuectl sign --for mill"
    envelope = json.loads(text)
    envelope["payload"] = envelope["payload"].replace('"farm"', '"mill"')
    with pytest.raises(InvalidJobError, match="does not match"):
        verified(json.dumps(envelope), home, "mill")


def test_an_instant_in_the_job_is_not_replaced(queuectl: Commands, home: Path) -> None:
    """`expires_at` of a signed job limits the signature, so a job that has it is refused; the hint says what to do."""
    queuectl("sign", "--new-key", "k.key")
    words = ("sign", "-", "--for", "farm", "--key", "k.key")
    job = {"command": "true", "expires_at": "2099-01-01T00:00:00Z"}
    done = queuectl(*words, stdin=json.dumps(job), code=5)
    assert "expires_at: in a signed job" in done.err and "--expires" in done.err and "expires_after" in done.err
    queuectl(*words, "--out", "out.json", stdin=json.dumps({**job, "expires_at": None, "expires_after": "2h"}))
    assert verified((home / "out.json").read_text(), home).document["expires_after"] == "2h"
