"""The places of runs on a node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.cluster import places as placing
from queuectl.cluster.places import Places
from queuectl.system import disk, locks, outputs, processes
from tests.helpers import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes of a cluster run on Linux")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of the places."""
    return tmp_path


def test_a_place_is_used_again_once_nothing_has_its_lock(runs: Path) -> None:
    """P3: What has inherited the lock is killed first, even if it has given the file another name."""
    places = Places(str(runs))
    place = places.take()
    os.write(place.fd, b"secret")
    places.enter(place)
    with subprocess.Popen(["sleep", "1000"], pass_fds=[place.fd], cwd=place.folder) as left:
        assert places.prove(place) == [left.pid]
        left.wait()
    assert places.prove(place) == []
    places.leave(place)
    places.rest(place)
    assert place.read(3, 10) == (b"ret", 6)
    places.give_back(place)
    assert places.take() is place
    assert (place.size, os.listdir(places.enter(place))) == (0, [])
    os.rename(place.path, runs / "elsewhere")
    with subprocess.Popen(["sleep", "1000"], pass_fds=[place.fd]) as left:
        assert places.prove(place) == [0]
        left.kill()
    assert places.prove(place) == []


def test_a_place_without_its_lock_is_not_used_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: The output of a predecessor, or one that was closed meanwhile, was only opened to be read."""
    (runs / "0.out").write_text("output")
    monkeypatch.setattr(placing, "_KEPT", 1)
    places = Places(str(runs))
    earlier, first, second = places.at(0), places.take(), places.take()
    for place in (earlier, first, second):
        places.rest(place)
        place.read(0, 10)
    for place in (earlier, first, second):
        places.give_back(place)
    assert locks.is_held(places.take().path)
    assert sorted(os.listdir(runs)) == ["3.out"]


def test_a_folder_that_is_not_as_it_was_is_not_used_again(runs: Path) -> None:
    """P10: A file in it, another mode, a link in its place."""
    places = Places(str(runs))
    for number, spoil in enumerate(
        (
            lambda folder: (folder / "f").touch(),
            lambda folder: folder.chmod(0o777),
            lambda folder: (folder.rmdir(), folder.symlink_to("/etc")),
        )
    ):
        place = places.take()
        spoil(Path(places.enter(place)))
        places.leave(place)
        places.give_up(place)
        assert places.take() is place
        assert os.listdir(places.enter(place)) == []
        assert not os.path.islink(place.folder), number
        places.leave(place)
        places.give_up(place)
    wait_until(lambda: [name for name in os.listdir(runs) if name.endswith(".d")] == ["0.d"])


def test_folders_nested_without_end_keep_no_other_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: What a command has nested too deep stays; the folders of other runs are deleted as before."""
    places, remove = Places(str(runs)), disk.remove_tree
    nested, other = places.take(), places.take()

    def refuse(path: str) -> None:
        if os.path.exists(os.path.join(path, "nested")):
            raise RecursionError("maximum recursion depth exceeded")
        remove(path)

    monkeypatch.setattr(disk, "remove_tree", refuse)
    for place, name in ((nested, "nested"), (other, "file")):
        Path(places.enter(place), name).touch()
        places.leave(place)
    wait_until(lambda: [name.partition("-")[0] for name in os.listdir(runs) if name.endswith(".d")] == ["0"])


def test_an_output_with_another_name_or_mode_is_not_used_again(runs: Path) -> None:
    """P10: Somebody could read what later runs print."""
    places = Places(str(runs))
    place = places.take()
    os.link(place.path, runs / "kept")
    places.give_up(place)
    other = places.take()
    assert other.number == 1
    os.chmod(other.path, 0o644)
    places.give_up(other)
    assert places.take().number == 2
    assert not Path(place.path).exists()


def test_burial_deletes_all_but_what_waits(runs: Path) -> None:
    """P4, P5: Whoever holds a lock of a predecessor's is killed, whoever only reads is not; numbers count on."""
    fd = outputs.open_file(str(runs / "7.out"))
    (runs / "3.out").write_text("output")
    (runs / "7.d").mkdir()
    (runs / "7.d" / "file").touch()
    (runs / "x").touch()
    argv = [sys.executable, "-c", "import fcntl,sys,time; fcntl.flock(1, 2); print('on', file=sys.stderr, flush=True);"]
    argv[2] += " time.sleep(1000)"
    with (
        subprocess.Popen(argv, stdout=fd, stderr=subprocess.PIPE) as holder,
        subprocess.Popen(["sleep", "1000"], stdin=open(runs / "7.out")) as reader,
    ):
        os.close(fd)
        assert holder.stderr is not None
        holder.stderr.readline()
        assert processes.lock_holders(str(runs / "7.out")) == [holder.pid]
        places = Places(str(runs))
        assert places.bury(30.0, {3})
        assert holder.wait() == -9
        assert reader.poll() is None
        reader.kill()
    wait_until(lambda: os.listdir(runs) == ["3.out"])
    assert places.at(3).read(0, 100) == (b"output", 6)
    assert places.take().number == 8
