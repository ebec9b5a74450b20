"""The shape of the package: imports point down, and each door to the outside is in one module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import queuectl
from queuectl.model import lifecycle

PACKAGE = Path(queuectl.__file__).parent

# Lowest first. A room imports from rooms on lower floors only; those on one floor do not know each other.
FLOORS = (
    "errors",
    "model system",
    "spool",
    "flows",
    "jobs",
    "worker inbox",
    "cluster",
    "monitor",
    "api_schedules",
    "api",
    "maintenance",
    "pool",
    "cli",
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
# Imports that point up, still: the reason is that a module holds two nouns, and each is to be cut.
UPWARD: frozenset[tuple[str, str]] = frozenset({})
# Imports that close a circle: none.
CIRCLES: frozenset[tuple[str, str]] = frozenset()

_OS_CALLS = """rename renames replace link symlink unlink remove rmdir removedirs mkdir makedirs mkfifo write writev
pwrite fsync fdatasync ftruncate truncate chmod chown lchown utime"""
_SHUTIL_CALLS = "move copy copyfile copy2 copytree rmtree"
CHANGERS = ("system.disk", "system.outputs", "system.trials")
DISK_CALLS = {f"os.{name}" for name in _OS_CALLS.split()} | {f"shutil.{name}" for name in _SHUTIL_CALLS.split()}
_PATH_CALLS = "write_text write_bytes touch unlink rename mkdir rmdir symlink_to hardlink_to chmod"
PATH_CALLS = frozenset(_PATH_CALLS.split())
# Writers of files that are not the spool's: the demo's marker, a detached pool's log, what is edited, and
# the kernel's oom_score_adj.
OTHER_FILES = frozenset({"cli.commands.demo", "cli.commands.edit", "cli.commands.worker", "worker.executors.posix"})


# Commands are the executors'; `hooks` starts what the settings name, which no executor is to wait for.
SUBPROCESS = """worker.executors.windows system.processes spool.pools pool.hooks cluster.dask_carrier
cluster.node_process cli"""
_SPOOL_NAMES = """.queuectl leases pools taken PAUSED tmp splits cancels counts.lock dashboard.lock stale.lock
status.html status.json queuectl.prom README.md README.txt job.schema.json examples start, .reason.txt .error.txt
.cancelled.txt .split.txt"""
SPOOL_NAMES = frozenset(_SPOOL_NAMES.split())


class Import(NamedTuple):
    """One import: of which module (`queuectl.jobs.claim`, `os`), of which name in it, and at which line."""

    module: str
    name: str
    line: int


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    """`jobs.claim` for queuectl/jobs/claim.py, `jobs` for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return module.partition(".")[0]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _modules(package: Path) -> frozenset[str]:
    return frozenset(map(_module, _files()))


@cache
def _imports(path: Path) -> tuple[Import, ...]:
    """All imports of a file: inside functions and under TYPE_CHECKING as well."""
    return tuple(_found_imports(path))


def _found_imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                yield Import(node.module, alias.name, node.lineno)


def _own(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of this package that a file imports (`jobs.claim`), and at which line."""
    for item in _imports(path):
        if item.module.split(".")[0] != "queuectl":
            continue
        module = item.module.partition(".")[2]
        inner = f"{module}.{item.name}".strip(".")
        found = next((name for name in (inner, module) if name in _modules(PACKAGE)), "")
        if found and (_room(found) in FLOOR):
            yield found, item.line


@cache
def _calls(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    return tuple((ast.unparse(node.func), node) for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))


def _where(path: Path, line: int) -> str:
    return f"queuectl/{path.relative_to(PACKAGE)}:{line}"


def _face(room: Path) -> list[str]:
    """What `__all__` of a package lists."""
    for node in _tree(room / "__init__.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_every_module_is_in_a_room() -> None:
    """A new module is given its place on purpose."""
    assert {_room(_module(path)) for path in _files()} - {"", "__main__"} <= set(FLOOR)


def test_imports_point_down() -> None:
    """No room imports from a floor above its own or from a neighbour, not even inside a function."""
    wrong = []
    seen = set()
    for path in _files():
        module = _module(path)
        if _room(module) not in FLOOR:
            continue
        for target, line in _own(path):
            if _room(target) == _room(module) or FLOOR[_room(target)] < FLOOR[_room(module)]:
                continue
            seen.add((module, target))
            if (module, target) not in UPWARD:
                wrong.append(f"{_where(path, line)}: {module} imports {target}")
    assert wrong == []
    if Path(queuectl.__file__).parent == PACKAGE:
        assert seen == UPWARD, "an exception that is not needed any more"


def test_imports_go_in_no_circle() -> None:
    """Modules build on each other in one direction, imports inside functions counted."""
    graph: dict[str, set[str]] = {}
    for path in _files():
        module = _module(path)
        if not module:  # the package itself hands out names of `api`, when they are asked for
            continue
        graph.setdefault(module, set()).update(
            target for target, _ in _own(path) if target != module and (module, target) not in UPWARD | CIRCLES
        )
    state: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != "open", " -> ".join((*trail, name))
        if name in state:
            return
        state[name] = "open"
        for target in sorted(graph.get(name, ())):
            visit(target, (*trail, name))
        state[name] = "closed"

    for name in sorted(graph):
        visit(name, ())


def test_a_room_is_entered_by_its_face() -> None:
    """From outside only modules are imported that the package lists; the list names nothing that is not there."""
    faces = {path.parent.name: _face(path.parent) for path in PACKAGE.glob("*/__init__.py")}
    wrong = []
    for path in _files():
        for target, line in _own(path):
            room, _, inner = target.partition(".")
            if room != _room(_module(path)) and inner and inner.partition(".")[0] not in faces[room]:
                wrong.append(f"{_where(path, line)}: {target} is the business of {room}")
    wrong += [
        f"{room} lists {name}, which is not there"
        for room, names in faces.items()
        for name in names
        if f"{room}.{name}" not in _modules(PACKAGE)
    ]
    assert wrong == []


def test_package_itself_imports_nothing() -> None:
    """`import queuectl`, a package of it and a spawned worker load only what they use."""
    heads = [path for path in _files() if path.name == "__init__.py" and path.parent.name != "cli"]
    wrong = [
        _where(path, node.lineno)
        for path in (*heads, PACKAGE / "__main__.py")
        for node in _tree(path).body
        if isinstance(node, ast.Import | ast.ImportFrom) and "queuectl" in ast.unparse(node)
    ]
    assert wrong == []


def _is_in(module: str, homes: str) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes.split())


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("portalocker", "system.locks"),
        ("watchdog", "system.watch"),
        ("typer", "cli"),
        ("click", "cli"),
        ("rich", "cli"),
        ("prometheus_client", "monitor.metrics"),
        ("jinja2", "monitor.page"),
        ("markupsafe", "monitor.page"),
        ("textual", "cli.commands.top_app cli.commands.top_widgets cli.terminal.stage"),
        ("tomlkit", "spool.settings_file"),
        ("cryptography", "cluster.keys"),
        ("distributed", "cluster.bridge"),
        ("dask", "cluster.node"),
        ("cronsim", "model.timetable"),
        ("tzlocal", "system.zone"),
        ("ctypes", "system.libc system.locks system.volume system.win32"),
        ("fcntl", "system.files system.locks system.rights"),
        ("msvcrt", "system.files system.locks worker.executors.windows cli"),
        ("subprocess", SUBPROCESS),
    ],
)
def test_library_is_imported_in_its_own_module_only(library: str, home: str) -> None:
    """Each library is behind one door."""
    wrong = [
        _where(path, item.line)
        for path in _files()
        for item in _imports(path)
        if item.module.split(".")[0] == library and not _is_in(_module(path), home)
    ]
    assert wrong == []


def test_only_the_command_line_prints_and_exits() -> None:
    """Nothing below cli/ writes to a terminal or ends the process (but the copy of it that a worker is)."""
    wrong = [
        f"{_where(path, node.lineno)}: {call}"
        for path in _files()
        if not _is_in(_module(path), "cli system.forked")
        for call, node in _calls(path)
        if call in ("print", "input", "exit", "quit", "sys.exit", "os._exit")
        or call.startswith(("sys.stdout.", "sys.stderr."))
    ]
    assert wrong == []


def _writes(node: ast.Call) -> bool:
    """True for an `open` that is not plainly for reading."""
    mode: ast.expr | None = node.args[1] if len(node.args) > 1 else None
    mode = next((word.value for word in node.keywords if word.arg == "mode"), mode)
    if mode is None:
        return False
    return not isinstance(mode, ast.Constant) or any(letter in str(mode.value) for letter in "wax+")


def _only_opens(path: Path, node: ast.Call) -> bool:
    """Whether an `os.open` neither makes nor empties a file, in one of the modules that read; or opens devnull."""
    flags = ast.unparse(node)
    if _module(path) in ("system.files", "system.rights", "system.processes"):
        return not any(word in flags for word in ("O_CREAT", "O_TRUNC", "O_APPEND", "O_EXCL"))
    return "devnull" in flags


def test_only_disk_changes_the_disk() -> None:
    """Every change of a file of the spool is one call of one module, so a crash falls between two of them (P4, P7).

    `outputs` adds to what commands print, `trials` has scratch files of its own. `files` only opens what is there.
    `rights` may change owner and mode, by handle. `framing` writes to pipes.
    """
    wrong = []
    for path in _files():
        if _module(path) in CHANGERS:
            continue
        for call, node in _calls(path):
            method = call.rpartition(".")[2]
            if (
                (call in DISK_CALLS and (call != "os.write" or _module(path) != "system.framing"))
                or (call in ("os.fchmod", "os.fchown") and _module(path) != "system.rights")
                or (call in ("open", "io.open") and _writes(node) and _module(path) not in OTHER_FILES)
                or (call == "os.open" and not _only_opens(path, node))
                or (method in PATH_CALLS and not call.startswith(("disk.", "os.", "self.", "super().")))
            ):
                wrong.append(f"{_where(path, node.lineno)}: {call}")
    assert wrong == []


def test_who_only_looks_cannot_change_the_disk() -> None:
    """The model computes and the monitor looks: neither can reach what changes a file, or moves a job."""
    wrong = [
        _where(path, line)
        for path in _files()
        if _room(_module(path)) in ("model", "monitor")
        for target, line in _own(path)
        if target in CHANGERS or _room(target) in ("jobs", "worker")
    ]
    assert wrong == []


# Words that mean something else there: a heading, a key of a file, the level or the kind of a notice.
OTHER_WORDS = frozenset(
    {
        ("jobs.hold", "released"),
        ("model.notice", "warning"),
        ("model.spec", "done"),  # a condition
        ("model.spec", "started"),  # until when a unique key is held
        ("monitor.facts", "blocked"),
        ("monitor.metrics", "blocked"),
        ("monitor.page_facts", "blocked"),
        ("spool.pools", "released"),
    }
)


def test_only_lifecycle_spells_states_and_events() -> None:
    """The name of a state or an event is written once; everybody else uses the constant.

    `errors` lies below `lifecycle`, and the words of a command line are its own. "rejected" is a verdict's word too.
    """
    words = set(lifecycle.STATES) | lifecycle.EVENTS - {lifecycle.REJECTED}
    wrong = []
    for path in _files():
        if _is_in(_module(path), "model.lifecycle errors cli"):
            continue
        wrong += [
            f"{_where(path, node.lineno)}: {node.value!r}"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Constant) and node.value in words and (_module(path), node.value) not in OTHER_WORDS
        ]
    assert wrong == []


def test_only_spool_spells_the_machinery() -> None:
    """Folder and file names of the spool are known to one module ("pools" is a key of status.json, too).

    Names that are ordinary words of queuectl as well (locks, logs, inboxes) cannot be told from them.
    """
    wrong = [
        f"{_where(path, node.lineno)}: {node.value!r}"
        for path in _files()
        if not _is_in(_module(path), "spool.layout cli monitor.facts")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant) and node.value in SPOOL_NAMES and path.name != "__init__.py"
    ]
    assert wrong == []


def test_the_model_does_no_input_or_output() -> None:
    """The model computes: it imports nothing that reaches the disk, a clock or a process."""
    forbidden = {"os", "shutil", "subprocess", "socket", "pathlib", "tempfile", "io"}
    wrong = [
        f"{_where(path, item.line)}: {item.module}"
        for path in _files()
        if _room(_module(path)) == "model"
        for item in _imports(path)
        if item.module.split(".")[0] in forbidden
    ]
    wrong += [
        f"{_where(path, node.lineno)}: {call}"
        for path in _files()
        if _room(_module(path)) == "model"
        for call, node in _calls(path)
        if call in ("open", "time.time", "time.monotonic", "datetime.now", "random.random", "random.Random")
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    """A module opens with what it owns."""
    assert [str(path) for path in _files() if not ast.get_docstring(_tree(path))] == []


def test_these_rules_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that breaks a rule is found out."""
    files = {
        "model/__init__.py": '"""x"""\n__all__ = ["names", "gone"]\nfrom queuectl.model import names\n',
        "model/times.py": '"""x"""\nfrom queuectl.jobs.claim import Claims\nimport portalocker\nprint("pending")\n',
        "model/names.py": '"""x"""\nimport os\nfrom queuectl.system import disk\n',
        "system/__init__.py": '"""x"""\n__all__ = ["disk"]\n',
        "system/disk.py": '"""x"""\n',
        "jobs/__init__.py": '"""x"""\n__all__ = ["claim"]\n',
        "jobs/claim.py": (
            '"""x"""\nimport os\ndef f():\n    from queuectl.jobs import settle\n    from queuectl import pool\n'
            '    from queuectl.model import times\n    os.rename("a", "b")\n    open("x", "w")\n    return "leases"\n'
        ),
        "jobs/settle.py": '"""x"""\ndef f():\n    from queuectl.jobs import claim\n',
        "pool/__init__.py": '"""x"""\n__all__ = []\n',
        "lost.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "__main__.py").write_text('"""x"""\nfrom queuectl.cli import main\n')
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    for rule in (
        test_every_module_is_in_a_room,
        test_imports_point_down,
        test_imports_go_in_no_circle,
        test_a_room_is_entered_by_its_face,
        test_package_itself_imports_nothing,
        test_only_the_command_line_prints_and_exits,
        test_only_disk_changes_the_disk,
        test_who_only_looks_cannot_change_the_disk,
        test_only_lifecycle_spells_states_and_events,
        test_only_spool_spells_the_machinery,
        test_the_model_does_no_input_or_output,
        test_every_module_says_what_it_is,
    ):
        with pytest.raises(AssertionError):
            rule()
    with pytest.raises(AssertionError):
        test_library_is_imported_in_its_own_module_only("portalocker", "system.locks")
