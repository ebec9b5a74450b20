"""rejections: rejected files, the text about many of them, and their way back."""

from __future__ import annotations

from pathlib import Path

from queuectl.inbox.folder import SUMMARY
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in
from tests.unit.inbox.post import Post


def test_a_corrected_file_is_readmitted_by_a_new_process_too(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: which version was refused stands in its text; the same version is not judged again."""
    post = Post(spool, tmp_path / "inbox")
    post.send("job.json", {"command": 7})
    post.poller.poll()
    post.start()
    post.poller.poll()
    assert post.names() == ["job.json.rejected", "job.json.rejected.txt"]
    post.send("job.json.rejected", {"command": "true", "note": "corrected"})
    post.start()
    assert post.poller.poll() == ["job,by=anna.json"] and post.names() == []


def test_of_many_rejected_files_one_text_tells(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: bad files make max_rejected texts at most, and one that says how many more there are, and why."""
    post = Post(spool, tmp_path / "inbox", max_rejected=3)
    for number in range(250):
        post.send(f"bad{number:03}.json", [number])
    post.send("good.json", {"command": "true"})
    polls = 0
    while not names_in(spool, "pending"):
        post.poller.poll()
        polls += 1
        assert post.poller.rejected <= 100
    assert polls == 3
    names = post.names()
    assert sum(name.endswith(".json.rejected") for name in names) == 250
    assert [name for name in names if name.endswith(".txt")] == [
        *(f"bad{number:03}.json.rejected.txt" for number in range(3)),
        SUMMARY,
    ]
    text = (post.folder / SUMMARY).read_text()
    assert "247 rejected files" in text and "bad249.json: it holds many jobs" in text
    assert len([text for _, _, text in post.poller.notices if "rejected" in text]) == 3 + 3
    post.start()
    post.poller.poll()
    assert SUMMARY in post.names() and post.poller.state.left_alone == 0
    for name in names:
        if name.endswith(".rejected"):
            (post.folder / name).unlink()
    post.poller.poll()
    post.poller.poll()
    assert post.names() == []
