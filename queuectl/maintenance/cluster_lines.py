"""The lines of `doctor` about the cluster in the settings: keys, scheduler, versions, and each node tried out."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import platform
import time
from collections.abc import Iterator

import queuectl
from queuectl.cluster import asking, carriers, health, keys, protocol, trial
from queuectl.cluster.asking import Said
from queuectl.cluster.carrier import Carrier
from queuectl.cluster.protocol import Look
from queuectl.errors import QueuectlError
from queuectl.inbox import identity
from queuectl.maintenance.probes import FAIL, OK, WARN, Line
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir

# How long the clock of each node is compared, and from when on a certificate or a disk needs a look.
_CLOCK_S = 4.0
_SOON_DAYS = 30
_FAIL_BYTES, _WARN_BYTES = 16 * 1024**2, 500 * 1024**2
_WEAK = frozenset({"signal", "group"})


def lines(spool: SpoolDir, settings: Settings, *, clock_s: float = _CLOCK_S) -> Iterator[Line]:
    """Yield each line about the cluster of these settings as soon as it is known."""
    first = address_line(settings)
    yield first
    if first.level == FAIL:
        return
    carrier = carriers.make(settings)
    try:
        yield from _about_nodes(carrier, spool, settings, clock_s)
    finally:
        carrier.close()


def address_line(settings: Settings) -> Line:
    """Report whether the address and the keys can be used, and until when the certificate is valid."""
    address = settings.cluster_scheduler
    try:
        carriers.check(settings)
        if not address.startswith("tls://"):
            level = WARN if settings.cluster_insecure else OK
            hint = "use tls:// and keys: queuectl cluster keys --help" if level == WARN else ""
            return Line("cluster", level, f"{address}, without TLS", hint)
        ends = min(map(keys.last_day, keys.check(settings.cluster_keys, keys.SPOOL)))
    except QueuectlError as error:
        return _failed("cluster", error)
    text = f"{address} by TLS, with a certificate until {ends:%Y-%m-%d}"
    left_days = (ends - datetime.datetime.now(datetime.UTC)).days
    if left_days < _SOON_DAYS:
        return Line("cluster", WARN, text, "make new keys and copy them to all parts: queuectl cluster keys --help")
    return Line("cluster", OK, text, measured={"certificate_days": left_days})


def _about_nodes(carrier: Carrier, spool: SpoolDir, settings: Settings, clock_s: float) -> Iterator[Line]:
    try:
        asking.reach(carrier, settings.cluster_scheduler)
        began_s = time.monotonic()
        first = _look(carrier)
    except QueuectlError as error:
        yield _failed("scheduler", error)
        return
    if not first:
        hint = f"on another machine: queuectl cluster node {settings.cluster_scheduler} --keys FOLDER"
        yield Line("scheduler", WARN, "it answers, but no node is connected", hint)
        return
    yield Line("scheduler", OK, f"it answers; nodes: {', '.join(sorted(first))}")
    tried = {name: _try(carrier, name, said, spool) for name, (said, _) in first.items()}
    time.sleep(max(0.0, clock_s - (time.monotonic() - began_s)))
    try:
        again = _look(carrier)
    except QueuectlError:
        again = {}
    for name, (said, reading) in sorted(first.items()):
        yield node_line(said, _drift(reading, again.get(name)))
        if (line := tried[name]) is not None:
            yield line


_Looked = tuple[Said, health.Reading]


def _look(carrier: Carrier) -> dict[str, _Looked]:
    """Ask each node in turn, so that the delay of its answer is its own."""
    found = {}
    for name in sorted(carrier.nodes()):
        sent_s = time.monotonic()
        (said,) = asking.ask(carrier, protocol.LOOK, protocol.LookRequest(), only=name)
        clock_s = said.answer.clock_s if said.answer is not None else 0.0
        found[name] = said, health.Reading(clock_s, sent_s, time.monotonic())
    return found


def _drift(before: health.Reading, after: _Looked | None) -> float | None:
    """Return how much faster a node's clock runs for certain; None if it could not be compared."""
    if after is None or after[0].answer is None or not before.node_s:
        return None
    return health.drift(before, after[1])


def _try(carrier: Carrier, name: str, said: Said, spool: SpoolDir) -> Line | None:
    """Run `true` on a node that has room for it."""
    look = said.answer
    if look is None or look.is_draining or not look.free:
        return None
    try:
        took_s = trial.run_true(carrier, name, identity.identity_of(spool))
    except QueuectlError as error:
        return _failed(f"true on {name}", error)
    return Line(f"true on {name}", OK, f"a command ran there in {took_s * 1000:.0f} ms", measured={"ms": took_s * 1000})


def node_line(said: Said, drift: float | None) -> Line:
    """Report what a node is: its versions, its clock, its disk, and what ends its commands if its keeper is killed."""
    name, look = f"node {said.node}", said.answer
    if look is None:
        hint = f"check that the scheduler reaches {said.address} (a firewall? cluster node --port), and the node's log"
        return Line(name, FAIL, f"no answer: {said.why}", hint)
    text = (
        f"{look.free} of {look.slots} slots free, {look.scratch_free // 1024**2} MB free in {look.scratch}, "
        f"commands end with their keeper by: {look.containment}"
    )
    if look.is_draining:
        text += ", draining"
    measured = {"scratch_free_bytes": look.scratch_free, "clock_drift": drift, **look.versions}
    level, hint = _judge(look, drift)
    return Line(name, level, text, hint, measured)


def _judge(look: Look, drift: float | None) -> tuple[str, str]:
    """Return the level of a node and what to do, by the worst that is found."""
    if drift is not None and drift < -health.MOST_DRIFT:
        return FAIL, f"its clock runs {-drift:.0%} slower than this one, so it ends commands too late: it gets none"
    if look.scratch_free < _FAIL_BYTES:
        return FAIL, f"free some space in {look.scratch} there, or give another --scratch"
    if others := _other_versions(look.versions):
        return WARN, f"install the same versions on all machines: {others}"
    if drift is not None and drift > health.MOST_DRIFT:
        return WARN, f"its clock runs {drift:.0%} faster than this one, so it ends commands early when it is cut off"
    if look.scratch_free < _WARN_BYTES:
        return WARN, f"free some space in {look.scratch} there, or give another --scratch"
    if look.containment in _WEAK:
        return WARN, "a process that closes all its files may outlive a killed keeper: queuectl service install --node"
    return OK, ""


def _other_versions(theirs: dict[str, str]) -> str:
    """Return the programs whose version there is another, "" if none is. Of Python only 3.X counts."""
    own = {"queuectl": queuectl.__version__, "python": platform.python_version(), "dask": _dask_version()}
    parts = []
    for name, version in own.items():
        there = theirs.get(name, version)
        is_same = there.split(".")[:2] == version.split(".")[:2] if name == "python" else there == version
        if version and there and not is_same:
            parts.append(f"{name} {there} there, {version} here")
    return ", ".join(parts)


def _dask_version() -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("distributed")
    return ""


def _failed(name: str, error: QueuectlError) -> Line:
    return Line(name, FAIL, f"{error}: {error.cause}" if error.cause else str(error), error.hint)
