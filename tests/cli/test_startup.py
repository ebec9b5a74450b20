"""What a command imports: nothing that it does not use, because each start is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import queuectl
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir

HEAVY = {
    "portalocker",
    "watchdog",
    "rich",
    "textual",
    "tomlkit",
    "tomllib",
    "psutil",
    "jinja2",
    "markupsafe",
    "multiprocessing",
    "ctypes",
    "asyncio",
    "concurrent",
    "platformdirs",
    "logging",
    "dask",
    "distributed",
    "tornado",
    "cryptography",
    "email",
    "http",
}
if sys.platform == "win32":
    HEAVY.remove("ctypes")  # Typer's own: it prints to the console of Windows through it


def imported(spool: SpoolDir, *words: str) -> set[str]:
    """The modules that are loaded when a command has ended."""
    code = (
        "import os, sys\n"
        "end = os._exit\n"
        "def tell(code):\n"
        "    print('\\n'.join(sys.modules), file=sys.stderr, flush=True)\n"
        "    end(code)\n"
        "os._exit = tell\n"
        "from queuectl.__main__ import main\n"
        "main()\n"
    )
    argv = [sys.executable, "-c", code, "--spool", spool.root, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return set(done.stderr.split("\n"))


# What a pool needs beside.
OF_A_POOL = {"multiprocessing", "ctypes", "jinja2", "markupsafe"}


@pytest.mark.skipif(os.name == "nt", reason="on Windows the locks are portalocker's, and workers are spawned")
def test_pool_imports_nothing_that_it_does_not_use(spool: SpoolDir) -> None:
    """A pool without jobs starts and ends without libraries for other systems, terminals and commands."""
    tops = {name.partition(".")[0] for name in imported(spool, "worker", "start", "--drain")}
    assert not tops & (HEAVY - OF_A_POOL)


# What a pool has for jobs and spools of a kind that most have not.
OF_FEATURES = """typer queuectl.cli.main queuectl.api queuectl.jobs.uniques queuectl.jobs.unique_drops
queuectl.jobs.unique_enqueue queuectl.jobs.splitter queuectl.jobs.batch_step queuectl.jobs.flow_split
queuectl.jobs.batch_documents queuectl.jobs.hopeless queuectl.jobs.revive queuectl.jobs.enqueue
queuectl.jobs.arguments queuectl.jobs.ticker queuectl.jobs.schedules queuectl.pool.missing_parents
queuectl.pool.inbox_processes queuectl.inbox.trust queuectl.inbox.opening queuectl.model.flow
queuectl.model.uniqueness queuectl.model.patterns queuectl.model.mistakes queuectl.model.tick_name
queuectl.model.inbox queuectl.model.command queuectl.model.schedule queuectl.model.timetable
queuectl.spool.node_boards queuectl.spool.key_notes queuectl.flows.rates queuectl.flows.halts
queuectl.maintenance.leftovers queuectl.maintenance.key_note_sweep queuectl.maintenance.recovery
queuectl.maintenance.doctor queuectl.maintenance.examination queuectl.worker.parent_results queuectl.cluster"""
# The page's, which is off here.
OF_THE_PAGE = """queuectl.monitor.snapshot queuectl.monitor.rows queuectl.monitor.survey queuectl.monitor.live
queuectl.monitor.order"""


def test_a_plain_pool_imports_only_what_plain_jobs_use(spool: SpoolDir) -> None:
    """A feature that no job uses costs the start of a pool no import, in the supervisor and in its workers."""
    from queuectl.api import Spool

    settings_file.write(spool, 'dashboard = "off"\n')
    Spool(spool.root).enqueue([sys.executable, "-c", ""], id="there")
    found = imported(spool, "worker", "start", "--drain")
    assert "queuectl.worker.run" in found
    assert found & {*OF_FEATURES.split(), *OF_THE_PAGE.split()} == set()


@pytest.mark.parametrize(
    "words",
    [
        ["enqueue", '{"command": "true"}'],
        ["enqueue", "--command", "true"],
        ["enqueue", "--", "true"],
        ["list"],
        ["status"],
        ["top"],
        ["show", "there"],
        ["logs", "there"],
        ["why", "the"],
        ["stats"],
        ["history"],
        ["--version"],
        ["--help"],
    ],
)
def test_command_imports_nothing_heavy(spool: SpoolDir, words: list[str]) -> None:
    """Locks, watching, tables, editors of TOML and the like are loaded by the commands that use them."""
    from queuectl.api import Spool

    Spool(spool.root).enqueue("true", id="there")
    tops = {name.partition(".")[0] for name in imported(spool, *words)}
    assert not tops & HEAVY


def test_command_imports_only_itself(spool: SpoolDir) -> None:
    """`enqueue` loads none of the other commands, and nothing of the workers."""
    found = {name for name in imported(spool, "enqueue", "--command", "true") if name.startswith("queuectl.")}
    assert found - {"queuectl.__main__"} == {
        "queuectl.api",
        "queuectl.api_schedules",
        "queuectl.cli",
        "queuectl.cli.commands",
        "queuectl.cli.commands.enqueue",
        "queuectl.cli.context",
        "queuectl.cli.exit_codes",
        "queuectl.cli.failure",
        "queuectl.cli.group",
        "queuectl.cli.job_options",
        "queuectl.cli.main",
        "queuectl.cli.sources",
        "queuectl.cli.terminal",
        "queuectl.cli.terminal.printing",
        "queuectl.errors",
        "queuectl.jobs",
        "queuectl.jobs.arguments",
        "queuectl.jobs.enqueue",
        "queuectl.jobs.submission",
        "queuectl.model",
        "queuectl.model.document",
        "queuectl.model.extras",
        "queuectl.model.history",
        "queuectl.model.job",
        "queuectl.model.lifecycle",
        "queuectl.model.names",
        "queuectl.model.record",
        "queuectl.model.retry",
        "queuectl.model.setting",
        "queuectl.model.setting_checks",
        "queuectl.model.settings",
        "queuectl.model.sizes",
        "queuectl.model.spec",
        "queuectl.model.text",
        "queuectl.model.times",
        "queuectl.spool",
        "queuectl.spool.folder",
        "queuectl.spool.layout",
        "queuectl.spool.listing",
        "queuectl.spool.session",
        "queuectl.spool.settings_file",
        "queuectl.spool.trust",
        "queuectl.system",
        "queuectl.system.acting",
        "queuectl.system.clock",
        "queuectl.system.disk",
        "queuectl.system.files",
        "queuectl.system.rights",
        "queuectl.system.sharing",
    }


def test_help_needs_no_schema(spool: SpoolDir) -> None:
    """Help and version do not load the library."""
    assert "msgspec" not in imported(spool, "--help")


@pytest.mark.skipif(sys.platform == "win32", reason="an embedded Python has its own list of folders")
def test_a_clone_that_is_not_installed_says_so() -> None:
    """`python -m queuectl` in a fresh clone: what to do, and no traceback."""
    root = str(Path(queuectl.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "queuectl", "status"],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: queuectl is not installed: the library 'typer' is missing\nhint: ")
    assert "Traceback" not in done.stderr
