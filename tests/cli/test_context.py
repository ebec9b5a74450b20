"""The spool of a command: --spool, then QUEUECTL_SPOOL, then the nearest, then the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir, is_spool
from tests.cli.commands import Commands
from tests.helpers import let_others_enter, make_spool


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands where no variable names a spool."""
    return Commands(monkeypatch)


def spool_of(commands: Commands, *options: str) -> str:
    """The spool that `status` is about."""
    return str(commands(*options, "status", "--json").json["spool"])


def test_option_comes_first(queuectl: Commands, tmp_path: Path) -> None:
    """--spool wins over the variable, before and after the command."""
    other = make_spool(tmp_path / "other").root
    assert spool_of(queuectl, "--spool", other) == other
    assert queuectl("status", "--json", "--spool", other).json["spool"] == other


def test_variable_comes_second(queuectl: Commands, spool: SpoolDir, home: Path) -> None:
    """QUEUECTL_SPOOL wins over a spool nearby."""
    make_spool(home / "spool")
    assert spool_of(queuectl) == spool.root


def test_nearest_upward_is_third(typed: Commands, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below, the nearest folder that is a spool or has one is found."""
    make_spool(home / "spool")
    below = home / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert spool_of(typed) == str(home / "spool")
    make_spool(home / "a")
    assert spool_of(typed) == str(home / "a")


def test_inside_a_spool_it_is_that_one(typed: Commands, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pending/ of a spool, a command uses that spool."""
    spool = make_spool(home / "spool")
    monkeypatch.chdir(spool.folder("pending"))
    assert spool_of(typed) == spool.root


@pytest.mark.skipif(os.name == "nt", reason="Windows asks the registry, not a variable, where it is")
def test_own_spool_is_made_once(typed: Commands, tmp_path: Path) -> None:
    """Without any of these the user's own spool is made, and named the first time."""
    first = typed("enqueue", "--command", "true")
    own = tmp_path / "data" / "queuectl" / "spool"
    assert (
        f"no spool in this folder or its parents. Using your default spool, which is new and empty: {own}\n"
        in first.err
    )
    assert "For a queue in this folder: queuectl init\n" in first.err
    assert is_spool(str(tmp_path / "data" / "queuectl" / "spool"))
    assert "default spool" not in typed("enqueue", "--command", "true").err


def test_init_makes_a_spool(typed: Commands, home: Path) -> None:
    """init makes ./spool, which is then found; a second time changes nothing."""
    assert typed("init").out == f"{home / 'spool'}\n"
    assert (home / "spool" / "README.md").read_text(encoding="utf-8").startswith("# This folder is a job queue")
    settings = home / "spool" / "queuectl.toml"
    settings.write_text("max_retries = 7\n")
    typed("init")
    assert settings.read_text() == "max_retries = 7\n"
    assert spool_of(typed) == str(home / "spool")


def test_init_takes_a_path(typed: Commands, home: Path) -> None:
    """init PATH makes it there, and --spool names it as well."""
    typed("init", "a/b")
    typed("--spool", "c", "init")
    assert is_spool(str(home / "a" / "b"))
    assert is_spool(str(home / "c"))


def test_init_tells_a_person_what_is_next(typed: Commands) -> None:
    """On a terminal init names the next commands."""
    typed.on_terminal = True
    text = typed("init", "far/away").out
    assert "made the spool" in text
    assert 'away" enqueue' in text
    assert "already" in typed("init", "far/away").out


def test_init_where_a_file_is_fails_clearly(typed: Commands, home: Path) -> None:
    """init cannot make a folder at the path of a file."""
    (home / "x").write_text("")
    assert typed("init", "x", code=75).err.startswith("error: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="two users: only root can be both of them")
@pytest.mark.parametrize("theirs", [".", "queuectl.toml", ".queuectl", ".queuectl/tmp", "pending"])
def test_a_spool_of_another_user_that_nobody_named_is_not_used(
    typed: Commands, home: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """P10: root in another user's folder writes nothing where that user chooses, unless the spool is named."""
    spool = make_spool(home / "spool")
    let_others_enter(spool)
    (home / "elsewhere").mkdir()
    settings, folders = Path(spool.settings_path).read_text(), sorted(os.walk(home))
    for path in (home / "spool").rglob("*") if theirs == "." else ():  # or root could not work there as they could
        os.chown(path, 12302, 12302)
    os.chown(home / "spool" / theirs, 12302, 12302)
    for words in (["list"], ["status"], ["pause"], ["config", "set", "max-retries", "9"], ["enqueue", "--", "true"]):
        error = typed(*words, code=1).err
        assert "belongs to user 12302, and this command runs as user root" in error
        assert f"--spool {spool.root}" in error
    assert Path(spool.settings_path).read_text() == settings and sorted(os.walk(home)) == folders
    typed("--spool", spool.root, "pause")
    monkeypatch.setenv("QUEUECTL_SPOOL", spool.root)
    typed("resume")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="two users: only root can be both of them")
def test_a_link_of_another_user_leads_to_no_spool(typed: Commands, home: Path, tmp_path: Path) -> None:
    """P10: where the link of a stranger leads decides nothing, even if that is a spool of the caller."""
    mine = make_spool(tmp_path / "mine")
    (home / "spool").symlink_to(mine.root)
    assert spool_of(typed) == str(home / "spool")
    os.chown(home / "spool", 12302, 12302, follow_symlinks=False)
    assert "belongs to user 12302" in typed("list", code=1).err


READING = [
    "status", "status --json", "list", "list --state rejected", "list --tag word", "dlq list", "stats", "history",
    "top", "worker list", "config list", "config get max_retries", "config path", "show x", "why x", "logs x", "wait x",
    "check --quick", "check", "cancel --all --dry-run", "retry --all --dry-run", "service print", "resume",
]  # fmt: skip


@pytest.mark.parametrize("words", READING)
def test_commands_that_read_make_no_folder(home: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """In a clone, which keeps no empty folders, the queue reads as empty and stays as it is."""
    (home / "spool").mkdir()
    (home / "spool" / "queuectl.toml").write_text("")
    result = Commands(monkeypatch)(*words.split(), code=None)
    assert result.code in ((3,) if words.endswith(" x") else (0,)), result
    assert os.listdir(home / "spool") == ["queuectl.toml"]


@pytest.mark.parametrize("words", ["enqueue --command true", "pause", "config set max_retries 5"])
def test_commands_that_write_make_the_folders(home: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """What writes into a clone makes the folders that are missing first."""
    (home / "spool").mkdir()
    (home / "spool" / "queuectl.toml").write_text("")
    Commands(monkeypatch)(*words.split())
    assert (home / "spool" / "pending").is_dir() and (home / "spool" / ".queuectl" / "leases").is_dir()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="two users: only root can be both of them")
def test_root_makes_no_spool_in_the_home_of_another_user(typed: Commands, tmp_path: Path) -> None:
    """P10: sudo keeps HOME on some systems, and a link there could lead anywhere."""
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12302, 12302)
    assert f"{data} belongs to user 12302" in typed("enqueue", "--", "true", code=1).err
    assert os.listdir(data) == []
