"""judge: what may come in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from queuectl.inbox import keyfile, signing
from queuectl.inbox.identity import known_identity
from queuectl.model import times
from queuectl.spool.folder import SpoolDir
from tests.helpers import make_spool, names_in
from tests.unit.inbox.post import Post


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("many.json", [{"command": "true"}], "one job per file"),
        ("many.jsonl", '{"command": "true"}\n', "one job per file"),
        ("twice.json", '{"command": "a", "command": "b"}', "twice"),
        ("taken.json", {"command": "true", "id": "there"}, "already exists"),
        ("part.json", {"command": "true", "ref": "a"}, "several jobs, which an inbox does not take"),
    ],
)
def test_what_is_whole_and_no_job_is_refused_at_once(
    spool: SpoolDir, tmp_path: Path, name: str, content: object, why: str
) -> None:
    """P6: with a text in plain words beside it."""
    post = Post(spool, tmp_path / "inbox")
    post.desk.enqueue(id="there")
    post.send(name, content)
    post.poller.poll()
    assert post.names() == [f"{name}.rejected", f"{name}.rejected.txt"]
    assert why in (post.folder / f"{name}.rejected.txt").read_text()


def test_a_name_that_is_used_again_gets_another_id(spool: SpoolDir, tmp_path: Path) -> None:
    """Dropping report.json every night is normal."""
    post = Post(spool, tmp_path / "inbox")
    for _ in range(2):
        post.send("report.json", {"command": "true"})
        post.poller.poll()
    assert len(names_in(spool, "pending")) == 2


def test_a_signed_job_runs_on_one_spool_only(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: whoever copies a signed file into another queue's inbox, with the same key, gets a refusal."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    taken = []
    for number, each in enumerate((spool, make_spool(tmp_path / "other"))):
        post = Post(each, tmp_path / f"inbox{number}", keys=str(keys))
        post.inbox = msgspec.structs.replace(post.inbox, mode="signed")
        post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
        post.desk.rng.seed(number)
        post.start()
        post.poller.step()
        expires_at = times.to_text(post.desk.clock.now() + 60)
        document = {"command": "true", "id": "a", "for": known_identity(spool), "expires_at": expires_at}
        post.send("a.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
        taken.append(post.poller.step())
    assert taken == [["a,by=anna.json"], []]
    assert f"queuectl sign --for {known_identity(post.desk.spool)}" in (post.folder / "a.json.rejected.txt").read_text()


def test_an_inbox_has_a_queue(spool: SpoolDir, tmp_path: Path) -> None:
    """Jobs without a queue of their own get it, and their names say so; a trusted producer may name another."""
    post = Post(spool, tmp_path / "inbox", queue="mail")
    post.send("a.json", {"command": "true"})
    post.send("b.json", {"command": "true", "queue": "scans"})
    assert sorted(post.poller.step()) == ["a,by=anna,q=mail.json", "b,by=anna,q=scans.json"]


def test_a_signed_job_stays_in_the_queue_of_its_inbox(spool: SpoolDir, tmp_path: Path) -> None:
    """Whoever signs jobs for one inbox does not get the places of another queue."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    post = Post(spool, tmp_path / "inbox", keys=str(keys), queue="mail", audience="farm")
    post.inbox = msgspec.structs.replace(post.inbox, mode="signed")
    post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
    post.start()
    expires_at = times.to_text(post.desk.clock.now() + 60)
    others = {"after": [{"batch": "f-20261124T031500-x2k9", "count": 5}]}
    for name, more in (("a", {}), ("b", {"queue": "mail"}), ("c", {"queue": "scans"}), ("d", others)):
        document = {"command": "true", "id": name, "for": "farm", "expires_at": expires_at, **more}
        post.send(f"{name}.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
    taken = [*post.poller.step(), *post.poller.step()]
    assert sorted(taken) == ["a,by=anna,q=mail.json", "b,by=anna,q=mail.json"]
    assert "queue: jobs of this inbox are in the queue mail" in (post.folder / "c.json.rejected.txt").read_text()
    assert "after: a range of jobs is only for a file" in (post.folder / "d.json.rejected.txt").read_text()


def test_a_signed_job_waits_for_jobs_of_its_owner_only(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: the refusal is the same for somebody else's job and for none, so it tells nothing about others."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    post = Post(spool, tmp_path / "inbox", keys=str(keys))
    post.inbox = msgspec.structs.replace(post.inbox, mode="signed")
    post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
    post.start()
    post.poller.step()
    post.desk.enqueue(id="theirs", owner="ben")
    for job_id in ("mine", "hers"):
        post.desk.enqueue(id=job_id, owner="anna")
    post.desk.start("hers,by=anna.json")
    expires_at = times.to_text(post.desk.clock.now() + 60)
    taken = []
    for number, after in enumerate((["mine"], ["mine", "hers"], ["theirs"], ["nobodys"])):
        document = {"command": "true", "id": f"a{number}", "for": known_identity(spool), "expires_at": expires_at}
        document["after"] = after
        post.send(f"a{number}.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
        taken.append(post.poller.step())
    assert taken == [["a0,after=mine.json"], ["a1,after=hers.json"], [], []]
    whys = [(post.folder / f"a{number}.json.rejected.txt").read_text() for number in (2, 3)]
    assert "'theirs' is no job of anna" in whys[0] and "'nobodys' is no job of anna" in whys[1]


def test_nobody_suppresses_jobs_of_another_owner(spool: SpoolDir, tmp_path: Path) -> None:
    """P10, P15: the unique key of a signed job begins with its owner, so equal keys of two inboxes differ."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    for owner in ("anna", "bert", "anna"):
        post = Post(spool, tmp_path / f"inbox-{owner}", keys=str(keys))
        post.inbox = msgspec.structs.replace(post.inbox, mode="signed", owner=owner)
        post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
        post.start()
        post.poller.step()
        audience = known_identity(spool)
        taken = len(names_in(spool, "pending")) + len(spool.job_names("done"))
        document = {"command": "true", "id": f"{owner}{taken}", "unique": "k", "for": audience}
        document["expires_at"] = times.to_text(post.desk.clock.now() + 60)
        post.send("job.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
        post.poller.step()
        assert len(names_in(spool, "pending")) + len(spool.job_names("done")) == taken + 1, post.names()
    assert sorted(name.partition(",")[0] for name in spool.waiting_names()) == ["anna0", "bert1"]
    skipped = spool.read("done", "anna2.json").record
    assert skipped.extras.unique == "anna:k" and skipped.history[-1].duplicate_of == "anna0"


def test_a_unique_job_of_an_inbox_is_judged(spool: SpoolDir, tmp_path: Path) -> None:
    """P15: a duplicate is in done/, and a replacement takes the place of the job that waits."""
    post = Post(spool, tmp_path / "inbox")
    for name, how in (("a.json", "skip"), ("b.json", "skip"), ("c.json", "replace")):
        post.send(name, {"command": "true", "unique": "k", "on_duplicate": how})
        post.poller.poll()
    assert [name.partition(",")[0] for name in spool.waiting_names()] == ["c"]
    assert [spool.read("done", f"{each}.json").record.history[-1].event for each in "ab"] == ["skipped", "skipped"]
