"""handover: what a kill leaves between an inbox and pending/, and shares that come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.inbox.folder import Cause, Folder
from queuectl.inbox.handover import BY, Handover, Recovered
from queuectl.inbox.identity import identity_of
from queuectl.inbox.tokens import TOKEN_CHARS, Tokens
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files
from tests.helpers import Desk, names_in, write_drop

JOB = b'{"command": "true"}'


class Hands:
    """A spool, an inbox beside it, and who hands over."""

    def __init__(self, spool: SpoolDir, folder: Path) -> None:
        self.desk = Desk(spool)
        self.spool = spool
        folder.mkdir()
        self.folder = folder
        self.handover = Handover(self.desk.session, "anna")
        self.tokens = self.handover.tokens
        self.box = Folder(str(folder), identity_of(spool), rng=self.desk.rng, tokens=self.tokens)

    def send(self, name: str, data: bytes = JOB) -> files.Content:
        """A file in the inbox, as it is read."""
        (self.folder / name).write_bytes(data)
        return self.box.read(name, 1 << 20)

    def take(self, name: str, content: files.Content) -> str:
        """Hand it over."""
        prepared = self.desk.producer.prepare({"command": "true", "id": "job"}, by=BY, file=name)
        return self.handover.hand_over(self.box, name, content, prepared)

    def recovered(self) -> Recovered:
        """What a later poll begins with."""
        return self.handover.recover(self.box, self.box.scan().claimed)

    def recover(self) -> list[str]:
        """The names in pending/ of the jobs that it published."""
        return self.recovered().published

    def leftovers(self) -> list[str]:
        """What the machinery holds of it."""
        return sorted(os.listdir(os.path.join(self.spool.handover_dir, "anna")))


@pytest.fixture
def hands(spool: SpoolDir, tmp_path: Path) -> Iterator[Hands]:
    """An empty inbox."""
    made = Hands(spool, tmp_path / "inbox")
    yield made
    made.box.close()


def test_a_file_becomes_a_job_and_leaves_nothing(hands: Hands) -> None:
    """P1, P2: the record names the file, which is gone."""
    assert hands.take("my job.json", hands.send("my job.json")) == "job.json"
    first = hands.desk.record("pending", "job.json").history[0]
    assert (first.by, first.file) == ("inbox", "my job.json")
    assert list(hands.folder.iterdir()) == [] and hands.leftovers() == []


def test_a_file_that_changes_while_it_is_taken_stays(hands: Hands) -> None:
    """A file counts only if it is the same before and after it was claimed."""
    content = hands.send("job.json")
    (hands.folder / "job.json").write_bytes(b'{"command": "else"}')
    assert hands.take("job.json", content) == ""
    assert [path.name for path in hands.folder.iterdir()] == ["job.json"]
    assert names_in(hands.spool, "pending") == []


def test_a_claimed_file_gets_its_name_back_or_one_like_it(hands: Hands) -> None:
    """P7: what a kill left claimed goes back, and replaces nothing that has come since."""
    hands.send("job.json")
    claimed = hands.box.claim("job.json", hands.tokens.take())
    (hands.folder / "job.json").write_bytes(b"new")
    assert hands.recover() == []
    names = sorted(path.name for path in hands.folder.iterdir())
    assert len(names) == 2 and claimed not in names and all(name.endswith(".json") for name in names)
    assert (hands.folder / "job.json").read_bytes() == b"new"


def test_a_claimed_file_that_comes_back_with_its_share_is_not_run_again(hands: Hands) -> None:
    """P2: published while the share was away, what the share brings back is known to have had its turn."""
    claimed = hands.send("job.json") and hands.box.claim("job.json", "a" * TOKEN_CHARS)
    prepared = hands.desk.producer.prepare({"command": "true", "id": "job"}, by=BY, file="job.json")
    disk.make_folder(os.path.join(hands.spool.handover_dir, "anna"))
    Path(hands.spool.handover_dir, "anna", f"{'a' * TOKEN_CHARS}.json").write_bytes(prepared.data)
    (hands.folder / claimed).rename(hands.folder.with_name("away"))
    assert hands.recover() == ["job.json"]
    hands.folder.with_name("away").rename(hands.folder / claimed)
    assert hands.recover() == []
    assert list(hands.folder.iterdir()) == [] and hands.leftovers() == []


def test_a_name_that_a_producer_copied_from_a_claim_is_left_alone(hands: Hands) -> None:
    """P10, P11: a name proves nothing; a token counts only while this spool has it in use."""
    claimed = hands.send("job.json") and hands.box.claim("job.json", hands.tokens.take())
    assert hands.recover() == [] and [path.name for path in hands.folder.iterdir()] == ["job.json"]
    mark = claimed.split("-")[1]
    copies = [claimed, f".queuectl-{mark}-{'a' * TOKEN_CHARS}-evil.json"]
    for name in copies:
        (hands.folder / name).write_bytes(JOB)
    published, strange = hands.recovered()
    assert published == [] and sorted(strange) == sorted(copies)
    assert sorted(path.name for path in hands.folder.iterdir()) == sorted([*copies, "job.json"])


def test_a_token_is_on_disk_before_a_file_has_it_and_only_its_user_can_read_it(hands: Hands) -> None:
    """P10: another process, started later, knows the claim; a receiver that ends forgets what it has not used."""
    token = hands.tokens.take()
    path = Path(hands.spool.inbox_path("anna", "tokens"))
    assert token in path.read_text().split()
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    later = Tokens(hands.desk.session, "anna")
    assert later.is_ours(token) and not later.is_ours("a" * TOKEN_CHARS)
    hands.tokens.settle()
    assert path.read_text().split() == [token]


def test_a_file_claimed_by_another_spool_is_left_alone(hands: Hands) -> None:
    """Two spools may share an inbox: each sees its own claims only."""
    other = Folder(str(hands.folder), "zzzzzz", rng=hands.desk.rng, tokens=hands.tokens)
    hands.send("job.json")
    claimed = other.claim("job.json", "a" * TOKEN_CHARS)
    assert hands.recover() == [] and (hands.folder / claimed).exists()
    found = hands.box.scan()
    assert found.jobs == [] and found.foreign == []


def test_a_job_whose_name_is_taken_in_pending_replaces_nothing(hands: Hands) -> None:
    """P7: both are kept."""
    write_drop(hands.spool, "job.json", {"command": "other"})
    name = hands.take("x.json", hands.send("x.json"))
    assert name != "job.json" and len(names_in(hands.spool, "pending")) == 2


def test_a_text_replaces_a_planted_link_and_follows_none(hands: Hands, tmp_path: Path) -> None:
    """P10: whoever can write to the inbox cannot have a file elsewhere written to."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    content = hands.send("job.json", b"[]")
    try:
        (hands.folder / "job.json.rejected.txt").symlink_to(secret)
    except OSError:
        pytest.skip("no links here")
    assert hands.box.reject("job.json", content.sig, Cause("why", "hint"), now_at=0.0) == "job.json.rejected"
    assert secret.read_text() == "mine"
    assert not (hands.folder / "job.json.rejected.txt").is_symlink()


def test_what_an_inbox_has_left_that_is_no_more_is_published(hands: Hands) -> None:
    """P1: a record that was handed over is a job, whatever the settings say by now."""
    prepared = hands.desk.producer.prepare({"command": "true", "id": "job"}, by=BY, file="job.json")
    disk.make_folder(os.path.join(hands.spool.handover_dir, "anna"))
    Path(hands.spool.handover_dir, "anna", f"{'a' * TOKEN_CHARS}.json").write_bytes(prepared.data)
    assert hands.handover.publish_all() == ["job.json"]
