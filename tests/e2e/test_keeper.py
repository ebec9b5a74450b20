"""The keeper of a node, over its real socket: commands under a lease (P3, P4, P5)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.cluster import client, protocol
from queuectl.cluster.protocol import DrainRequest, RunSpec, StartRequest
from queuectl.system import containment, locks, processes
from tests.helpers import wait_until
from tests.keeper import Pool, RealKeeper

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="nodes of a cluster run on Linux"),
    pytest.mark.skipif(not shutil.which("flock"), reason="needs flock of util-linux"),
]


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeeper]:
    """One keeper for all tests that do not kill it."""
    with RealKeeper(tmp_path_factory.mktemp("node") / "scratch", "--term-before", "0.3") as made:
        yield made


@pytest.fixture
def pool(keeper: RealKeeper, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A session of its own for each test; nothing of it is left."""
    made = Pool(keeper, request.node.name)
    yield made
    if made.beat().live:
        made.beat(void=made.grant)
    wait_until(lambda: not made.beat().live)


def holding(mark: Path, *, detached: bool = True) -> str:
    """Return a command that leaves a process which holds the lock of a file, and ends when it does."""
    start = "setsid" if detached else ""
    return f"{start} flock '{mark}' sleep 1000 >/dev/null 2>&1 & while flock -n '{mark}' true; do :; done; echo held"


# A command that SIGTERM does not end, once it has printed.
STUBBORN = "trap '' TERM; echo on; while :; do sleep 0.01; done"


def start_stubborn(pool: Pool, mark: Path | None = None) -> str:
    """Start such a command, which holds the lock of a file if there is one; return its run."""
    run = pool.run("stubborn", f"exec 9>'{mark}'; flock 9; {STUBBORN}" if mark else STUBBORN)
    wait_until(lambda: pool.beat() and pool.output(run) == b"on\n")
    return run


def test_a_command_runs_in_a_folder_of_its_own(keeper: RealKeeper, pool: Pool) -> None:
    """P4: Output, exit code and variables are as locally; the outcome is on disk until it is acknowledged."""
    run = pool.run(
        "a", "pwd; echo $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $QUEUECTL_NODE $X; touch f; exit 3", env={"X": "y"}
    )
    end = pool.end_of(run)
    assert (end.kind, end.exit_code, end.member) == (protocol.EXIT, 3, pool.member)
    folder, *rest = pool.output(run).decode().splitlines()
    assert rest == ["a 1 n1 y"]
    assert Path(folder).parent == keeper.scratch / "runs"
    assert end.output_bytes == len(pool.output(run))
    assert run in (keeper.scratch / "ends").read_text()
    assert pool.beat().ended == [end]
    assert pool.beat(known=[run]).ended == []
    assert pool.beat(acks=[run]).ended == []
    assert pool.output(run) == b""


def test_a_place_is_empty_for_the_next_run(keeper: RealKeeper, pool: Pool) -> None:
    """P10: Whatever a run has done to its folder and its output, the next ones find nothing of it."""
    mess = (
        "echo secret; touch f; mkdir -p d/d; chmod 000 d",
        "chmod 755 .; echo secret",
        "o=$(readlink /proc/self/fd/1); echo secret; rm $o; ln -s /etc/passwd $o",
        "d=$PWD; cd /; rmdir $d; ln -s /etc $d; echo secret",
        "ln $(readlink /proc/self/fd/1) kept; echo secret",
    )

    def passwd() -> tuple[int, ...]:
        info = Path("/etc/passwd").stat()
        return info.st_ino, info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns

    def numbers(ending: str) -> set[str]:
        return {path.stem for path in (keeper.scratch / "runs").glob(f"*.{ending}")}

    before, others = passwd(), len(numbers("d"))
    for number in range(10):
        runs = [pool.run(f"{number}-{at}", text) for at, text in enumerate(mess[:4])]
        runs.append(pool.run(f"{number}-4", mess[4])) if pool.end_of(runs[0]) else None
        for run in runs:
            assert pool.end_of(run).exit_code == 0
        clean = pool.run(f"{number}-clean", "ls -A; stat -c %a .; readlink /proc/self/fd/1 | grep -c deleted")
        assert pool.end_of(clean).exit_code == 1
        assert pool.output(clean) == b"755\n0\n"
        pool.beat(acks=[*runs, clean])
    assert passwd() == before
    # What stays are the folders of places: those of this test's runs, and of others whose outcomes nobody acknowledged.
    wait_until(lambda: numbers("d") <= numbers("out"))
    assert len(numbers("d")) <= others + 8


def test_a_command_gets_its_input_and_the_results_of_parents(keeper: RealKeeper, pool: Pool, tmp_path: Path) -> None:
    """A text, a file of the node, or nothing; the file about parents is there for its run only, and for its user."""
    (tmp_path / "in.txt").write_text("from a file")
    text, parents = "ä\0\n" * 1000, '{\n "load": {"json": [1]}\n}\n'
    show = 'cat; echo "[$(cat "$QUEUECTL_PARENT_RESULTS" 2>&1)]"; stat -c %a "$QUEUECTL_PARENT_RESULTS"'
    both = pool.run("a", show, stdin=text, parents=parents)
    assert pool.end_of(both).exit_code == 0
    assert pool.output(both).decode() == f"{text}[{parents.rstrip()}]\n600\n"
    named = pool.run("b", "cat; echo $QUEUECTL_PARENT_RESULTS$QUEUECTL_RESULT", stdin_file="in.txt", cwd=str(tmp_path))
    assert pool.end_of(named).exit_code == 0 and pool.output(named) == b"from a file\n"
    lost = pool.end_of(pool.run("c", "cat", stdin_file="nothing", parents=parents))
    assert (lost.kind, lost.exit_code) == (protocol.EXIT, 126) and "cannot read stdin_file" in lost.reason
    pool.beat(acks=[both, named])
    pool.end_of(pool.run("d", "true", stdin=""))
    assert not [name for name in os.listdir(keeper.scratch / "runs") if not name.endswith((".out", ".d"))]


def test_a_command_that_cannot_start_is_an_outcome(pool: Pool) -> None:
    """A missing program and a missing folder are the job's fault, with the shell's codes."""
    assert pool.end_of(pool.run("a", ["no-such-program"]))[2:4] == (127, "command not found: no-such-program")
    assert pool.end_of(pool.run("b", ["true"], cwd="/no/such/folder")).exit_code == 126
    assert pool.end_of(pool.run("c", ["true"], cwd="sub")).is_final


def test_what_a_command_leaves_is_ended_before_its_end_is_known(pool: Pool, tmp_path: Path) -> None:
    """P3: A background process and a daemon of a command are dead when its end is reported."""
    daemon, child = pool.run("a", holding(tmp_path / "a")), pool.run("b", holding(tmp_path / "b", detached=False))
    for run, mark in ((daemon, "a"), (child, "b")):
        assert pool.end_of(run).exit_code == 0
        assert pool.output(run) == b"held\n"
        assert not locks.is_held(str(tmp_path / mark))


def test_limits_are_kept_by_the_node(pool: Pool) -> None:
    """A timeout, a limit of output and a request end a command; a command that ignores SIGTERM is killed."""
    slow = pool.run("a", "exec sleep 1000", timeout_s=0.1)
    loud = pool.run("b", "yes", output_max=1000)
    asked = start_stubborn(pool)
    assert pool.cancel(asked, "abc123.other.1", grace_s=0.1).unknown == ["abc123.other.1"]
    assert pool.end_of(asked)[1:3] == (protocol.ASKED, 137)
    assert pool.end_of(loud)[1:3] == (protocol.OUTPUT, None)
    assert pool.end_of(slow)[1:4] == (protocol.TIMEOUT, 143, "timed out after 0.1 s")


def test_the_last_output_comes_with_the_end(pool: Pool) -> None:
    """A pool need not ask for what a command printed, unless it is more than a beat may hold."""
    short, long = pool.run("a", "echo done"), pool.run("b", "head -c 70000 /dev/zero")
    pool.end_of(short)
    pool.end_of(long)
    assert [(piece.run, piece.offset, piece.data) for piece in pool.beat().output] == [(short, 0, b"done\n")]
    (piece, rest) = pool.beat(output={short: 2, long: 6000}).output
    assert (piece.data, rest.offset, len(rest.data)) == (b"ne\n", 6000, 64000)


def test_output_comes_with_beats_while_a_command_runs(pool: Pool) -> None:
    """A beat brings what was printed since an offset, 64 KB of it at most."""
    run = pool.run("a", "head -c 100000 /dev/zero; sleep 1000")
    wait_until(lambda: len(pool.output(run)) == 100000)
    (piece,) = pool.beat(output={run: 10}, wait_s=10.0).output
    assert (piece.run, piece.offset, len(piece.data)) == (run, 10, protocol.BEAT_OUTPUT_BYTES)


def test_commands_end_with_their_lease(keeper: RealKeeper, tmp_path: Path) -> None:
    """P3: Without beats a command is asked to end before the lease ends and killed at its end; the grant is over."""
    pool = Pool(keeper, "lapse", lease_s=3)  # on a busy machine, too, it starts within that
    mark = tmp_path / "a"
    run, old = start_stubborn(pool, mark), pool.grant
    wait_until(lambda: run not in keeper.look().runs)
    assert not locks.is_held(str(mark))
    end = pool.end_of(run)
    assert (end.kind, end.exit_code) == (protocol.LAPSE, 137)
    assert pool.grant != old
    pool.beat()
    with pytest.raises(client.RefusedError, match=r"^grant: "):
        keeper.ask(protocol.START, StartRequest("lapse", pool.member, old, pool.token, []))
    pool.lease_s = 600.0
    pool.beat()
    assert pool.end_of(pool.run("b", "true")).exit_code == 0


def test_a_grant_that_the_pool_has_given_up_ends_at_the_first_word(pool: Pool) -> None:
    """P3: Commands of a void grant are dead before another grant is given."""
    run, old = start_stubborn(pool), pool.grant
    pool.beat(void=old)
    end = pool.end_of(run)
    assert (end.kind, end.exit_code) == (protocol.LAPSE, 137)
    assert wait_until(lambda: pool.beat().grant) != old


def test_a_run_starts_once(pool: Pool) -> None:
    """P3: A run that was seen is refused, and so is one that a beat has fenced; a known one goes on."""
    run = pool.run("a", "sleep 1000")
    spec = RunSpec(run, "true")
    assert [each.why[:5] for each in pool.start(spec).refused] == ["seen:"]
    fenced = pool.name("b")
    beat = pool.beat(fences=[run, fenced])
    assert (beat.fenced, beat.live) == ([fenced], [run])
    assert [each.run for each in pool.start(spec._replace(run=fenced)).refused] == [fenced]
    pool.cancel(run)
    pool.end_of(run)
    assert [each.run for each in pool.start(spec).refused] == [run]
    assert pool.beat(fences=[run]).fenced == []


def test_strange_messages_are_refused(keeper: RealKeeper, pool: Pool) -> None:
    """Another member, an old token, no lease, more runs than slots, and nonsense are refused with a reason."""
    spec = RunSpec(pool.name("z"), "true")
    request = StartRequest(pool.session, pool.member, pool.grant, pool.token, [spec])
    for changed, why in (
        (request._replace(member="other"), "^member: "),
        (request._replace(grant="other"), "^grant: "),
        (request._replace(token=10**9), "^token: "),
        (request._replace(specs=[spec._replace(run="../x.1")]), "^run: "),
    ):
        with pytest.raises(client.RefusedError, match=why):
            keeper.ask(protocol.START, changed)
    with pytest.raises(client.RefusedError, match=r"BeatRequest.session is missing"):
        client.call(str(keeper.scratch), protocol.BEAT, "{}", 60.0)
    with pytest.raises(client.RefusedError, match="knows no 'sing'"):
        client.call(str(keeper.scratch), "sing", "{}", 60.0)
    with pytest.raises(client.RefusedError, match=r"^version: "):
        client.call(str(keeper.scratch), protocol.HELLO, '{"spool":"a","session":"b","version":99}', 60.0)
    specs = [RunSpec(pool.name(f"f{number}"), ["sleep", "1000"]) for number in range(6)]
    answer = pool.start(*specs)
    assert [each.why for each in answer.refused] == ["full: all 4 places are taken"] * 2
    assert answer.free == 0


def test_a_beat_waits_for_news(keeper: RealKeeper, pool: Pool) -> None:
    """A parked beat is answered by the end of a run, or when the same session sends another beat."""
    request = pool.request(wait_s=10.0)
    answers = []
    parked = threading.Thread(target=lambda: answers.append(keeper.ask(protocol.BEAT, request)))
    parked.start()
    at_s = time.monotonic()
    while parked.is_alive():
        pool.beat()
        parked.join(0.01)
    assert time.monotonic() - at_s < 9
    (beat,) = answers
    assert beat.ended == []
    run = pool.run("a", "exec sleep 0.1")
    assert [end.run for end in pool.beat(wait_s=10.0).ended] == [run]


def test_a_folder_has_one_keeper(keeper: RealKeeper) -> None:
    """A second keeper for the same scratch folder gives up and says why."""
    argv = [sys.executable, "-m", "queuectl.cluster.keeper", str(keeper.scratch)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "has a keeper that lives" in done.stderr


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_is_not_answered(keeper: RealKeeper) -> None:
    """P10: The keeper closes a connection of another user, even if the modes let it in."""
    opened = [*[each for each in keeper.scratch.parents if each != Path("/")][:3], keeper.scratch]
    modes = [each.stat().st_mode for each in opened]
    try:
        for each in opened:
            each.chmod(0o755)
        (keeper.scratch / "keeper.socket").chmod(0o666)
        code = (
            "import os,socket,sys; os.setuid(65534); s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.sendall(b'1 look {}\\n'); print(s.recv(100))"
        )
        with contextlib.chdir(keeper.scratch):
            argv = [sys.executable, "-c", code, "keeper.socket"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    finally:
        for each, mode in zip(opened, modes, strict=True):
            each.chmod(mode)
    assert done.stdout == "b''\n" or "ConnectionResetError" in done.stderr or "BrokenPipe" in done.stderr


WAYS = [
    pytest.param(way, marks=[pytest.mark.skipif(not containment.works(way), reason=f"no {way} here"), *marks])
    for way, *marks in (
        (containment.GROUP,),
        (containment.NAMESPACE, pytest.mark.slow),
        (containment.USER_NAMESPACE, pytest.mark.slow),
        (containment.SIGNAL, pytest.mark.slow),
    )
]


@pytest.mark.parametrize("way", WAYS)
def test_the_next_keeper_proves_that_its_predecessor_is_dead(tmp_path: Path, way: str) -> None:
    """P3, P5: After kill -9 of a keeper its commands are dead, or buried; outcomes on disk survive."""
    scratch, mark = tmp_path / "scratch", tmp_path / "mark"
    words = ("--containment", way.replace(" ", "-"))
    with RealKeeper(scratch, *words) as first:
        assert first.look().containment == way
        pool = Pool(first)
        ended, lost = pool.run("a", "echo out; exit 4"), pool.run("b", f"{holding(mark)}; sleep 1000")
        end = pool.end_of(ended)
        wait_until(lambda: pool.output(lost) == b"held\n")
        first.ask(protocol.DRAIN, DrainRequest(True))
        first.kill()
    with RealKeeper(scratch, *words) as second:
        assert not locks.is_held(str(mark))
        again = Pool(second)
        assert again.hello.dead == [pool.member]
        assert again.hello.untold == [end]
        assert again.hello.is_draining
        assert again.output(ended) == b"out\n"
        assert again.beat(acks=[ended]).ended == []
        assert again.output(lost) == b""


@pytest.mark.slow
def test_a_keeper_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    """P5: The guard kills a stopped keeper, and the next one starts beside the same folder."""
    scratch = str(tmp_path / "scratch")
    client.find_or_start(scratch, ["--slots", "1"])
    first = client.keeper_pid(scratch)
    try:
        assert client.guard(scratch, 60.0)
        os.kill(first, signal.SIGSTOP)
        assert not client.guard(scratch, 0.3)
        wait_until(lambda: processes.find(first) is None)
        assert not client.guard(scratch, 0.3)
        client.find_or_start(scratch, ["--slots", "1"])
    finally:
        with contextlib.suppress(OSError):
            os.kill(client.keeper_pid(scratch), signal.SIGKILL)


@pytest.mark.slow
def test_a_keeper_that_is_asked_to_stop_ends_its_commands(tmp_path: Path) -> None:
    """SIGTERM ends the commands, then the keeper; their outcomes wait for the next one."""
    with RealKeeper(tmp_path / "scratch") as first:
        pool = Pool(first)
        run = pool.run("a", "sleep 1000")
        os.kill(client.keeper_pid(str(first.scratch)), signal.SIGTERM)
        assert first.process.wait(60) == 0
    with RealKeeper(tmp_path / "scratch") as second:
        (end,) = Pool(second).hello.untold
        assert (end.run, end.kind, end.exit_code) == (run, protocol.LAPSE, 143)


def test_a_scratch_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """P10: What a keeper reads of its predecessors is its user's own."""
    tmp_path.chmod(0o755)
    argv = [sys.executable, "-m", "queuectl.cluster.keeper", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "nobody else can enter" in done.stderr


@pytest.mark.slow
def test_a_scratch_folder_may_have_a_long_path(tmp_path: Path) -> None:
    """A path that no socket address can hold is reached all the same."""
    with RealKeeper(tmp_path / ("x" * 100) / "scratch") as keeper:
        assert keeper.look().slots == 4
        assert socket.gethostname() == keeper.look().host
