"""Producers on a real SMB share: smbclient, and a client that writes as Windows programs do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig import Cable, Samba, pause

pytestmark = pytest.mark.share

CUT_S = 8


def test_small_files_put_by_smbclient_run_once(queue: Queue, samba: Samba) -> None:
    """P1: forty files put over ten connections by smbclient run once each."""
    body = queue.body()
    with Pool(queue.spool).ready():
        for hand in range(10):
            samba.smbclient(*[f'put "{body}" put-{hand}-{number}.json' for number in range(4)])
        ids = [f"put-{hand}-{number}" for hand in range(10) for number in range(4)]
        queue.ran_once(*ids, sent=body)
    queue.nothing_else_ran(*ids)
    assert queue.rejected() == []


@pytest.mark.parametrize("how", ["plain", "explorer"])
def test_a_slow_put_runs_when_it_is_whole(queue: Queue, samba: Samba, how: str) -> None:
    """P1, P6: 200 KB at 50 KB/s run once, whole; also where the file has its full length, of NULs, from the start."""
    body = queue.body(size=200_000)
    with Pool(queue.spool).ready() as pool:
        writer = samba.writer(body, "slow.json", "--how", how, "--rate", "50000", "--rest", "0.3")
        writer.told("written")
        assert writer.at["last"] - writer.at["open"] >= 3_500_000_000
        writer.close()
        queue.ran_once("slow", sent=body)
        print(f"{how}: the command started {lag_ms(queue, writer.at['last'], 'slow'):.0f} ms after the last byte")
        assert "untimed" not in writer.at, "the file was gone when its time was to be set"
        assert [item for item in pool.events if item["event"] == "rejected"] == []
    queue.nothing_else_ran("slow")


def test_a_file_whose_writer_shares_nothing_runs_once(queue: Queue, samba: Samba) -> None:
    """P6: that its client lets nobody else open it changes nothing for workers on the server."""
    body = queue.body(size=50_000)
    with Pool(queue.spool).ready():
        samba.writer(body, "alone.json", "--alone", "--rate", "100000").close()
        queue.ran_once("alone", sent=body)
    queue.nothing_else_ran("alone")


@pytest.mark.parametrize("how", ["plain", "explorer"])
def test_an_aborted_put_never_runs_and_can_be_sent_again(queue: Queue, samba: Samba, how: str) -> None:
    """P6: half a file whose client died is kept in rejected/ with its reason; sent again, it runs once."""
    body = queue.body(size=100_000)
    with Pool(queue.spool).ready() as pool:
        writer = samba.writer(body, "half.json", "--how", how, "--stop-at", "40960")
        writer.told("stopped")
        writer.kill()
        pool.event("rejected")
        assert queue.witness.lines() == []
        assert queue.rejected() == ["half.json"]
        assert "not complete JSON" in queue.reason("half.json")
        samba.smbclient(f'put "{body}" half.json')
        queue.ran_once("half", sent=body)
    queue.nothing_else_ran("half")
    assert queue.rejected() == ["half.json"]


def test_a_killed_smbclient_leaves_no_run(queue: Queue, samba: Samba) -> None:
    """P6: smbclient killed in the middle of a put leaves a file that is refused and says why."""
    body = queue.body(size=300_000)
    fifo = queue.outside / "fifo"
    os.mkfifo(fifo)
    with Pool(queue.spool).ready() as pool:
        client = subprocess.Popen(
            samba.smbclient_words(f'put "{fifo}" killed.json'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with fifo.open("wb", buffering=0) as pipe:  # opened by its reader: the put is under way
            pipe.write(body.read_bytes()[:150_000])
            wait_until(lambda: os.path.exists(queue.spool.path("pending", "killed.json")))
            client.kill()
            client.wait(10)
        pool.event("rejected")
        samba.smbclient(f'put "{body}" good.json')
        queue.ran_once("good", sent=body)
    queue.nothing_else_ran("good")
    assert queue.rejected() == ["killed.json"]
    assert "Why:" in queue.reason("killed.json")


def test_a_whole_file_runs_while_its_client_holds_it_open(queue: Queue, samba: Samba) -> None:
    """P1, P3: JSON proves itself: a client that keeps its handle delays its job by a second and doubles nothing."""
    body = queue.body()
    with Pool(queue.spool).ready():
        writer = samba.writer(body, "held.json", "--hold")
        writer.told("written")
        queue.ran_once("held", sent=body)
        print(f"hold: the command started {lag_ms(queue, writer.at['last'], 'held'):.0f} ms after the last byte")
        pause(2)
        writer.close()
        samba.smbclient(f'put "{body}" after.json')
        queue.ran_once("held", "after", sent=body)
    queue.nothing_else_ran("held", "after")
    assert queue.rejected() == []


def test_a_put_under_a_temporary_name_runs_after_the_rename(queue: Queue, samba: Samba) -> None:
    """P1, P11: nothing looks at the temporary name, however long it takes; the rename makes it a job at once."""
    body = queue.body(size=60_000)
    with Pool(queue.spool).ready() as pool:
        writer = samba.writer(body, "renamed.json", "--as", "renamed.json.part", "--rate", "30000")
        writer.told("done")
        writer.close()
        samba.smbclient(f'put "{body}" other.json.tmp', "rename other.json.tmp other.json")
        queue.ran_once("renamed", "other", sent=body)
        print(f"rename: the command started {lag_ms(queue, writer.at['done'], 'renamed'):.0f} ms after it")
        assert [item for item in pool.events if item["event"] in ("arriving", "rejected")] == []
    queue.nothing_else_ran("renamed", "other")


def test_a_file_that_is_written_over_runs_as_what_it_became(queue: Queue, samba: Samba) -> None:
    """P1: while nothing is started a file can be put again in place: its last content runs, once, however put."""
    first, second = queue.body("first", size=80_000, filler="1"), queue.body("second", size=80_000, filler="2")
    with Pool(queue.spool).ready() as pool:
        queuectl(queue.spool, "pause")
        samba.smbclient(f'put "{first}" over.json')
        writer = samba.writer(second, "over.json", "--stop-at", "40960")
        writer.told("stopped")  # half of the new one is there, and nothing of the old one
        queuectl(queue.spool, "resume")
        pool.event("rejected")  # quiet for too long: put aside, with the handle that its client still has
        writer.close()
        queue.ran_once("over", sent=second)
        assert queue.rejected() == []
    queue.nothing_else_ran("over")


def test_a_name_that_is_used_again_is_another_job(queue: Queue, samba: Samba) -> None:
    """P7: the same name put again after its job ran is a second job, and both are kept."""
    body = queue.body()
    with Pool(queue.spool).ready():
        samba.smbclient(f'put "{body}" nightly.json')
        queue.ran_once("nightly", sent=body)
        samba.smbclient(f'put "{body}" nightly.json')
        wait_until(lambda: len(queue.spool.job_names("done")) == 2)
        (again,) = {name.removesuffix(".json") for name in queue.spool.job_names("done")} - {"nightly"}
        queue.ran_once("nightly", again, sent=body)
    queue.nothing_else_ran("nightly", again)


# What each of the clients does, all at once.
CLIENTS = {
    "small": (),
    "slow": ("--rate", "40000"),
    "explorer": ("--how", "explorer"),
    "abort": ("--how", "abort"),
    "hold": ("--rest", "0.2"),
    "rename": ("--how", "rename"),
    "overwrite": ("--how", "overwrite"),
    "far": ("--how", "explorer", "--rest", "0.2"),
}
FILES_A_CLIENT = 40


def test_eight_clients_at_once_lose_and_double_nothing(queue: Queue, samba: Samba) -> None:
    """P1, P3, P6: eight clients put forty files each, each client in its own way; what is whole runs once."""
    queuectl(queue.spool, "config", "set", "settle_s", "3")
    body = queue.body(size=9_000)
    with Pool(queue.spool).ready():
        writers = {
            kind: samba.writer(body, kind, "--count", str(FILES_A_CLIENT), *options)
            for kind, options in CLIENTS.items()
        }
        for writer in writers.values():
            writer.close()
        untimed = sum(writer.untimed for writer in writers.values())
        whole = [f"{kind}-{number}" for kind in CLIENTS if kind != "abort" for number in range(FILES_A_CLIENT)]
        queue.ran_once(*whole, sent=body)
        halves = [f"abort-{number}.json" for number in range(FILES_A_CLIENT)]
        wait_until(lambda: queue.rejected() == sorted(halves), 30)
        assert all("not complete JSON" in queue.reason(name) for name in halves)
    queue.nothing_else_ran(*whole)
    print(f"{len(whole)} whole, {len(halves)} halves; {untimed} files were gone when their time was to be set")
    assert untimed == 0


@pytest.mark.parametrize("settle", ["30", "0.6"])
def test_a_connection_that_hangs_in_the_middle_of_a_put_costs_only_time(
    queue: Queue, samba: Samba, settle: str
) -> None:
    """P1, P6: the server's side of a put stands still for eight seconds and goes on; the job runs once, whole.

    With a `settle_s` shorter than that the half file is put aside meanwhile, and taken back when it is whole.
    """
    queuectl(queue.spool, "config", "set", "settle_s", settle)
    body = queue.body(size=200_000)
    with Pool(queue.spool).ready() as pool:
        writer = samba.writer(body, "cut.json", "--rate", "100000")
        writer.told("open")
        path = queue.spool.path("pending", "cut.json")
        wait_until(lambda: Path(path).stat().st_size > 50_000)
        stopped = samba.holders(path)
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            pause(CUT_S)
            assert queue.witness.lines() == []
            assert queue.rejected() == ([] if settle == "30" else ["cut.json"])
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        writer.close()
        queue.ran_once("cut", sent=body)
        assert bool([item for item in pool.events if item["event"] == "healed"]) == (settle != "30")
    queue.nothing_else_ran("cut")
    assert queue.rejected() == []


@pytest.mark.parametrize("settle", ["30", "0.6"])
def test_a_cable_that_is_pulled_in_the_middle_of_a_put_costs_only_time(
    queue: Queue, tmp_path: Path, settle: str
) -> None:
    """P1, P6: nothing arrives for eight seconds, and neither side is told; then the put goes on: one run, whole.

    With a `settle_s` shorter than that the half file is put aside meanwhile, and taken back when it is whole.
    """
    queuectl(queue.spool, "config", "set", "settle_s", settle)
    body = queue.body(size=200_000)
    with Cable() as cable, Samba(queue.pending, tmp_path / "samba", cable) as samba, Pool(queue.spool).ready() as pool:
        writer = samba.writer(body, "cut.json", "--rate", "100000")
        writer.told("open")
        path = Path(queue.spool.path("pending", "cut.json"))
        wait_until(lambda: path.stat().st_size > 50_000)
        cable.cut()
        try:
            pause(CUT_S)
            assert queue.witness.lines() == []
            assert queue.rejected() == ([] if settle == "30" else ["cut.json"])
        finally:
            cable.mend()
        writer.close()
        queue.ran_once("cut", sent=body)
        assert bool([item for item in pool.events if item["event"] == "healed"]) == (settle != "30")
    queue.nothing_else_ran("cut")
    assert queue.rejected() == []


def test_a_client_that_sends_again_after_its_connection_broke_gets_one_run(queue: Queue, samba: Samba) -> None:
    """P1, P6: the server's process of a connection is killed in mid-put; the client sends again; one run, whole."""
    queuectl(queue.spool, "config", "set", "settle_s", "30")
    body = queue.body(size=200_000)
    with Pool(queue.spool).ready():
        writer = samba.writer(body, "again.json", "--rate", "100000")
        path = queue.spool.path("pending", "again.json")
        writer.told("open")
        wait_until(lambda: Path(path).stat().st_size > 50_000)
        for pid in samba.holders(path):
            os.kill(pid, signal.SIGKILL)
        writer.process.communicate(timeout=60)
        assert writer.process.returncode != 0
        assert queue.witness.lines() == []
        samba.writer(body, "again.json").close()
        queue.ran_once("again", sent=body)
    queue.nothing_else_ran("again")
    assert queue.rejected() == []


def lag_ms(queue: Queue, since_ns: int, job_id: str) -> float:
    """How long after an instant a job's command started."""
    return (queue.witness.starts(job_id)[0] - since_ns) / 1e6
