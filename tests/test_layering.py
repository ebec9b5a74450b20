"""The shape of the package: imports point one way, and each door to the outside is in one module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import queuectl
from queuectl import lifecycle

PACKAGE = Path(queuectl.__file__).parent

# Lowest first: a module imports from its own layer and those above it in this list only.
LAYERS = (
    """errors exits printable times sizes mistakes names retry job record lifecycle inboxes patterns programs templates
    environment config
    service snapshot chart theme page metrics order turns feeder""",
    "clock libc acting fsops locks volume processes",
    """enclosure keyfile doorbell spool roster setup trust
    blame family executor executor_posix executor_windows watch output lease pools
    cancels tokens inboxdir inboxstate clocknote""",
    """intake producer signing replays admission rejects errortext repair lines batch splitting settle claim arrivals
    handover owed reception
    foresight""",
    """arguments api cancelling editing incoming report survey endings tail reasons refusals chronicle figures findings
    leftovers inboxtraces faults mending examine ownership check probes doctor""",
    """worker unsettled rescue retention dashboard forked slots splits dispatch stopping anchor aftermath hooks
    stale
    receiver receivers troubles housekeeping readiness reports judging""",
    "supervisor",
    "cli",
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}

_OS_CALLS = """rename renames replace link symlink unlink remove rmdir removedirs mkdir makedirs mkfifo write writev
pwrite fsync fdatasync ftruncate truncate chmod chown utime"""
_SHUTIL_CALLS = "move copy copyfile copy2 copytree rmtree"
DISK_CALLS = {f"os.{name}" for name in _OS_CALLS.split()} | {f"shutil.{name}" for name in _SHUTIL_CALLS.split()}
_PATH_CALLS = "write_text write_bytes touch unlink rename mkdir rmdir symlink_to hardlink_to chmod"
# Files that are no part of the queue: the demo's own folder, and where a detached pool's lines go.
# Writers of files that are not the spool's: the demo's marker, a detached pool's log, what is edited, and
# the kernel's oom_score_adj.
OTHER_FILES = frozenset({"cli/demo.py", "cli/edit.py", "cli/worker.py", "executor_posix.py"})
PATH_CALLS = frozenset(_PATH_CALLS.split())


class Import(NamedTuple):
    """One import: of which module (`queuectl.x`, `os`), at which line, and whether it runs when the module loads."""

    module: str
    line: int
    at_load: bool


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    """`claim` for queuectl/claim.py, `cli` for everything in queuectl/cli/."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            )
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_load)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                assert child.module is not None
                for alias in child.names:
                    yield Import(f"{child.module}.{alias.name}", child.lineno, at_load)
            yield from walk(child, at_load and not later and not checking)

    yield from walk(_tree(path), True)


def _own(path: Path) -> Iterator[tuple[str, Import]]:
    """The modules of this package that a file imports."""
    for item in _imports(path):
        parts = item.module.split(".")
        if parts[0] == "queuectl" and len(parts) > 1 and parts[1] in LEVEL:
            yield parts[1], item


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _where(path: Path, line: int) -> str:
    return f"queuectl/{path.relative_to(PACKAGE)}:{line}"


def test_every_module_has_a_layer() -> None:
    """A new module is given its place on purpose."""
    assert {_name(path) for path in _files()} - {"__init__", "__main__"} <= set(LEVEL)


def test_imports_point_one_way() -> None:
    """No module imports from a layer above its own, not even inside a function."""
    wrong = [
        f"{_where(path, item.line)}: {_name(path)} imports {target}"
        for path in _files()
        if _name(path) in LEVEL
        for target, item in _own(path)
        if LEVEL[target] > LEVEL[_name(path)]
    ]
    assert wrong == []


def test_imports_go_in_no_circle() -> None:
    """Within a layer modules build on each other in one direction.

    Counted are imports that run when a module loads: `executor.make` imports the executor of its system, which is
    built on it, only when it is called.
    """
    graph: dict[str, set[str]] = {}
    for path in _files():
        for target, item in _own(path):
            if item.at_load and target != _name(path):
                graph.setdefault(_name(path), set()).add(target)
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


def test_package_itself_imports_nothing() -> None:
    """`import queuectl` and a spawned worker load only what they use."""
    for name in ("__init__", "__main__"):
        assert [item.module for _, item in _own(PACKAGE / f"{name}.py") if item.at_load] == []


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("portalocker", "locks"),
        ("watchdog", "watch"),
        ("typer", "cli"),
        ("click", "cli"),
        ("rich", "cli"),
        ("tomlkit", "config"),
        ("ctypes", "libc executor_windows locks volume"),
        ("fcntl", "fsops"),
        ("msvcrt", "fsops locks executor_windows cli"),
        # Commands are the executors'; `hooks` starts what the settings name, which no executor is to wait for.
        ("subprocess", "executor_windows hooks pools processes supervisor cli"),
    ],
)
def test_library_is_imported_in_its_own_module_only(library: str, home: str) -> None:
    """Each library is behind one door."""
    wrong = [
        _where(path, item.line)
        for path in _files()
        for item in _imports(path)
        if item.module.split(".")[0] == library and _name(path) not in home.split()
    ]
    assert wrong == []


def test_only_the_command_line_prints_and_exits() -> None:
    """Nothing below cli/ writes to a terminal or ends the process (but the copy of it that a worker is)."""
    wrong = [
        f"{_where(path, node.lineno)}: {call}"
        for path in _files()
        if _name(path) not in ("cli", "forked")
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


def test_only_fsops_changes_the_disk() -> None:
    """Every change of a file is one call of one module, so a crash falls between two of them (P4, P7)."""
    wrong = []
    for path in _files():
        if _name(path) == "fsops":
            continue
        for call, node in _calls(path):
            method = call.rpartition(".")[2]
            if (
                call in DISK_CALLS
                or (
                    call in ("open", "io.open")
                    and _writes(node)
                    and path.relative_to(PACKAGE).as_posix() not in OTHER_FILES
                )
                or (call == "os.open" and "devnull" not in ast.unparse(node))
                or (method in PATH_CALLS and not call.startswith(("fsops.", "os.", "self.", "super().")))
            ):
                wrong.append(f"{_where(path, node.lineno)}: {call}")
    assert wrong == []


def test_only_lifecycle_spells_the_states() -> None:
    """A state's name is written once; everybody else uses the constant.

    `errors` lies below `lifecycle`, and the words of a command line are its own. "rejected" is a verdict's word too.
    """
    states = set(lifecycle.STATES)
    wrong = []
    for path in _files():
        if _name(path) in ("lifecycle", "errors", "cli"):
            continue
        wrong += [
            f"{_where(path, node.lineno)}: {node.value!r}"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Constant) and node.value in states
        ]
    assert wrong == []


def test_only_spool_spells_the_machinery() -> None:
    """Folder and file names of the spool are known to one module ("pools" is a key of status.json, too)."""
    wrong = [
        f"{_where(path, node.lineno)}: {node.value!r}"
        for path in _files()
        if _name(path) not in ("spool", "cli", "snapshot")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant) and node.value in (".queuectl", "leases", "pools", "taken", "PAUSED")
    ]
    assert wrong == []


def test_pure_modules_do_no_input_or_output() -> None:
    """The lowest layer computes: it imports nothing that reaches the disk, a clock or a process."""
    forbidden = {"os", "shutil", "subprocess", "socket", "pathlib", "tempfile", "io"}
    wrong = [
        f"{_where(path, item.line)}: {item.module}"
        for path in _files()
        if LEVEL.get(_name(path)) == 0
        for item in _imports(path)
        if item.module.split(".")[0] in forbidden
    ]
    wrong += [
        f"{_where(path, node.lineno)}: {call}"
        for path in _files()
        if LEVEL.get(_name(path)) == 0 and _name(path) != "config"
        for call, node in _calls(path)
        if call in ("open", "time.time", "time.monotonic", "datetime.now", "random.random", "random.Random")
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    """A module opens with what it owns."""
    assert [str(path) for path in _files() if not ast.get_docstring(_tree(path))] == []


def test_these_rules_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that breaks a rule is found out."""
    (tmp_path / "times.py").write_text(
        '"""x"""\nfrom queuectl.claim import Claims\nimport portalocker\nprint("pending")\n'
    )
    (tmp_path / "claim.py").write_text(
        '"""x"""\nimport os\ndef f():\n    from queuectl import cli\n    os.rename("a", "b")\n    open("x", "w")\n'
    )
    (tmp_path / "names.py").write_text('"""x"""\nimport os\n')
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    for rule in (
        test_imports_point_one_way,
        test_only_the_command_line_prints_and_exits,
        test_only_fsops_changes_the_disk,
        test_only_lifecycle_spells_the_states,
        test_pure_modules_do_no_input_or_output,
    ):
        with pytest.raises(AssertionError):
            rule()
    with pytest.raises(AssertionError):
        test_library_is_imported_in_its_own_module_only("portalocker", "locks")
