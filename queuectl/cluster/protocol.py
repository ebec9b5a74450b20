"""The messages between a pool and the keeper of a node (FORMAT.md, section 11): JSON objects as text. Computes only.

A carrier moves the text and reads nothing in it. Each operation has a request and an answer, both named tuples here;
`wire` turns them into text and back.

Names: a *session* is a worker of a pool (its name), a *member* is one life of a keeper, a *run* is
`SPOOLIDENTITY.ID.ATTEMPT` (`run_name`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from queuectl.cluster.wire import ProtocolError

VERSION = 2
"""Raised if a keeper and a pool of different versions could misunderstand each other; `Hello` carries it."""

# The operations of a keeper.
HELLO, BEAT, START, CANCEL, READ = "hello", "beat", "start", "cancel", "read"
LOOK, DRAIN = "look", "drain"

# What one answer to a beat holds of all outputs together, and what one read may ask for.
BEAT_OUTPUT_BYTES = 64 * 1024
READ_BYTES = 1024 * 1024
# How long a keeper may keep a beat that has nothing to say.
LONGEST_WAIT_S = 10.0
LEASE_RANGE_S = 1.0, 3600.0

# How a run ended (`RunEnd.kind`). The words of a job's record are the pool's business.
EXIT = "exit"
"""The command ended, or could not be started (`exit_code` 126 or 127, as locally)."""
TIMEOUT, OUTPUT, ASKED = "timeout", "output", "asked"
"""The keeper ended it: it took too long, printed more than its `output_max`, or a `Cancel` asked for it."""
LAPSE = "lapse"
"""The keeper ended it, because the lease ran out or the pool gave the grant up."""


class RunSpec(NamedTuple):
    """A command to run. The session, the member and the grant are those of the batch."""

    run: str
    command: str | list[str]
    cwd: str = ""
    """A folder of the node; "": a fresh empty one, deleted afterwards."""
    env: dict[str, str] = {}  # noqa: RUF012 - never changed
    """Set over the node's own variables (or over the few that `minimal_env` leaves)."""
    minimal_env: bool = False
    timeout_s: float | None = None
    grace_s: float = 10.0
    """How long the command may take to end when it is asked to."""
    output_max: int | None = None
    """The job's own limit (bytes): a command that prints more is ended."""
    stdin: str | None = None
    """A text for its standard input; None: `stdin_file`, or nothing."""
    stdin_file: str = ""
    """A file of the node, from the folder in which the command runs."""
    parents: str = ""
    """What the command may know of the parents of its job: the content of a file; "": the job has none."""


class RunEnd(NamedTuple):
    """How a run ended. Nothing of it lives when this is sent, except `left`."""

    run: str
    kind: str
    exit_code: int | None
    reason: str
    duration_s: float
    output_bytes: int
    is_final: bool = False
    """Nothing outside the job could change that (a command that no system takes)."""
    is_shutdown: bool = False
    """It ended as commands do when a system stops, and the keeper did not end it."""
    killed: list[int] = []  # noqa: RUF012
    """Processes outside the command's group that were ended with it (some of them)."""
    left: list[int] = []  # noqa: RUF012
    """Processes of the run that live on, because the system did not let the keeper end them (some of them)."""
    member: str = ""
    """The keeper that started it."""


class Piece(NamedTuple):
    """A part of the output of a run."""

    run: str
    offset: int
    data: bytes


class Refusal(NamedTuple):
    """A run that was not started, uncounted, and will not be by this message."""

    run: str
    why: str


class HelloRequest(NamedTuple):
    """The first message to a node, and the first one after its member changed."""

    spool: str
    """The identity of the spool: only outcomes of its runs are sent."""
    session: str
    version: int = VERSION


class Hello(NamedTuple):
    """What a node is. Every member in `dead` is dead with all its commands: what it ran and `untold` lacks is lost."""

    member: str
    host: str
    boot: str
    """The node's boot, in its own words."""
    slots: int
    free: int
    resources: dict[str, float]
    dead: list[str]
    """Earlier members of this scratch folder, newest last."""
    untold: list[RunEnd]
    """Outcomes on the node's disk that nobody has acknowledged."""
    containment: str
    """What ends the commands if the keeper is killed: `systemd`, `namespace`, `user namespace`, `signal`, `group`."""
    is_draining: bool
    versions: dict[str, str]
    """`queuectl`, `python`, `system`."""
    clock_s: float
    """The node's clock of the lease, to compare rates."""
    version: int = VERSION


class BeatRequest(NamedTuple):
    """Prolongs the lease, and asks for news. The answer comes with the first news, or after `wait_s`."""

    session: str
    member: str
    spool: str
    lease_s: float
    token: int = 0
    """The newest token that the pool has received; 0: none."""
    grant: str = ""
    """The grant that the pool counts on; "": none yet. The beat prolongs no other."""
    void: str = ""
    """A grant that the pool has given up: its runs are ended at once."""
    acks: list[str] = []  # noqa: RUF012
    """Runs whose outcome is on the spool's disk: the node forgets them."""
    fences: list[str] = []  # noqa: RUF012
    """Runs that may or may not have been started. Each is in `live` or `ended` of the answer, or in `fenced`."""
    output: dict[str, int] = {}  # noqa: RUF012
    """From which offset the pool wants more output of a live run; for all others nothing is sent."""
    known: list[str] = []  # noqa: RUF012
    """Ended runs that the pool has heard of and not acknowledged yet: they are no news."""
    wait_s: float = 0.0


class Beat(NamedTuple):
    """The answer to a beat."""

    token: int
    """To be brought back: the lease then runs from the instant this token was made."""
    grant: str
    """"" while commands of a grant that has ended are being killed."""
    left_s: float
    """How long the lease lasts from now on; 0 if there is none (bring back a token first)."""
    live: list[str]
    """All runs of this session that run or are being ended."""
    ended: list[RunEnd]
    """All runs of this session and of earlier members for this spool whose end is not acknowledged or `known`."""
    fenced: list[str]
    """Those of `fences` that this node does not know. It refuses to start them from now on."""
    output: list[Piece]
    """Of live runs what was asked for; of those in `ended` what they printed last, if there is room."""
    free: int
    """How many places are free for anybody."""
    is_draining: bool = False


class StartRequest(NamedTuple):
    """A batch of runs to start. The answer names those that are not; the end of the others comes with a beat."""

    session: str
    member: str
    grant: str
    token: int
    """The newest token received. A request that was on its way for longer than a lease is refused by it."""
    specs: list[RunSpec]


class StartAnswer(NamedTuple):
    """Which runs of the batch were not started."""

    refused: list[Refusal]
    free: int


class CancelRequest(NamedTuple):
    """End these runs: SIGTERM, after `grace_s` SIGKILL. `now`: to whoever it belongs, runs of another session too."""

    session: str
    member: str
    runs: list[str]
    grace_s: float


class CancelAnswer(NamedTuple):
    """The runs that do not run here (any more)."""

    unknown: list[str]


class ReadRequest(NamedTuple):
    """Read the output of a run that is not acknowledged, from `offset`, at most `most` bytes."""

    run: str
    offset: int
    most: int = READ_BYTES


class ReadAnswer(NamedTuple):
    """A part of an output, and the size of the whole."""

    data: bytes
    size: int


class LookRequest(NamedTuple):
    """Ask what a node is doing. Anybody may."""


class Look(NamedTuple):
    """What a node is doing."""

    member: str
    host: str
    pid: int
    slots: int
    free: int
    resources: dict[str, float]
    containment: str
    is_draining: bool
    versions: dict[str, str]
    scratch: str
    scratch_free: int
    """Bytes that are free in the scratch folder."""
    runs: list[str]
    clock_s: float
    node: str = ""
    """The name that its keeper was started with."""


class DrainRequest(NamedTuple):
    """Start nothing new (`on`), or start again. Kept in the scratch folder."""

    on: bool


class DrainAnswer(NamedTuple):
    """The node has it on disk."""

    is_draining: bool


REQUESTS: dict[str, type[Any]] = {
    HELLO: HelloRequest,
    BEAT: BeatRequest,
    START: StartRequest,
    CANCEL: CancelRequest,
    READ: ReadRequest,
    LOOK: LookRequest,
    DRAIN: DrainRequest,
}
ANSWERS: dict[str, type[Any]] = {
    HELLO: Hello,
    BEAT: Beat,
    START: StartAnswer,
    CANCEL: CancelAnswer,
    READ: ReadAnswer,
    LOOK: Look,
    DRAIN: DrainAnswer,
}


def run_name(spool: str, job_id: str, attempt: int) -> str:
    """Return the name of a run: SPOOLIDENTITY.ID.ATTEMPT. Each attempt of a job has another."""
    return f"{spool}.{job_id}.{attempt}"


def run_parts(run: str) -> tuple[str, str, int]:
    """Return the spool's identity, the id and the attempt of a run.

    Raises:
        ProtocolError: the text names no run.
    """
    spool, _, rest = run.partition(".")
    job_id, _, attempt = rest.rpartition(".")
    if not (spool and job_id and attempt.isascii() and attempt.isdigit()) or len(run) > 160 or not _is_plain(run):
        raise ProtocolError(f"run: {run[:200]!r} is not SPOOL.ID.ATTEMPT")
    return spool, job_id, int(attempt)


def _is_plain(run: str) -> bool:
    """Return whether a text can be part of a file name: the characters of an id, and no dot at its beginning."""
    return run.isascii() and all(each.isalnum() or each in "._-" for each in run)
