"""`queuectl cluster` and `worker start --cluster`: what is refused before anything is started or connected."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.cli.test_startup import imported

linux = pytest.mark.skipif(sys.platform != "linux", reason="only a Linux machine leads a cluster")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--slots", "5"], "--slots needs --cluster"),
        (["--count", "0"], "--count: takes a whole number from 1 to 256, not 0 (0 needs --cluster)"),
    ],
)
def test_options_of_a_cluster_need_one(queuectl: Commands, words: list[str], error: str) -> None:
    """The error names the option that is missing."""
    result = queuectl("worker", "start", *words, code=2)
    assert error in result.err


@linux
def test_what_a_cluster_needs_is_named(queuectl: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduler, a missing library, no keys, plain TCP: one line each, with a command; nothing is started."""
    assert "cluster.scheduler names no scheduler" in queuectl("worker", "start", "--cluster", code=1).err
    queuectl("config", "set", "cluster.scheduler", "tls://head:8786")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for words in (("worker", "start", "--cluster", "--drain"), ("cluster", "list")):
        result = queuectl(*words, code=1)
        assert 'hint: pip install "queuectl-spool[dask]"' in result.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    assert "cluster.keys is not set" in queuectl("worker", "start", "--cluster", code=1).err
    queuectl("config", "set", "cluster.scheduler", "tcp://head:8786")
    assert "cluster.insecure true" in queuectl("cluster", "list", code=1).err


@pytest.mark.parametrize("word", ["GPU", "GPU=", "=1", "GPU=-1", "GPU=inf", "GPU=nan", "a b=1"])
def test_a_resource_is_a_name_and_an_amount(queuectl: Commands, word: str) -> None:
    """Anything else is a usage error."""
    words = ["cluster", "node", "tcp://127.0.0.1:1", "--scratch", "s", "--resource", word]
    assert "such as GPU=2" in queuectl(*words, code=2).err


def test_settings_of_a_cluster_name_their_limits(queuectl: Commands) -> None:
    """A value out of range is refused with what is allowed."""
    for name, value in (("lease", "5s"), ("lease", "11m"), ("slots", "0"), ("scheduler", "head"), ("output_max", "x")):
        assert f"cluster.{name}: takes " in queuectl("config", "set", f"cluster.{name}", value, code=5).err


def test_a_drained_pool_without_a_cluster_imports_nothing_of_it(spool: SpoolDir) -> None:
    """No command without `--cluster` imports dask, or the keys' library."""
    Path(spool.folder("pending"), "a.json").write_text('{"command": ["true"]}')
    found = imported(spool, "worker", "start", "--drain")
    tops = {name.partition(".")[0] for name in found}
    assert not tops & {"dask", "distributed", "tornado", "cryptography", "asyncio"}
    assert not [name for name in found if name.startswith("queuectl.cluster")]
