"""A definition starts what was meant, whatever the paths hold; what a format cannot say is refused (P10)."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.cli import node_units, service_units
from queuectl.cli.service_units import KINDS, LAUNCHD, SYSTEMD, TASK, CannotSayError, Service
from queuectl.model.settings import parse

PLAIN = Service(
    name="queuectl-x-123456",
    spool="/srv/x/spool",
    python="/opt/venv/bin/python",
    cwd="/srv/x",
    user="me",
    uid=1000,
    path_variable="/usr/bin:/bin",
    log="/srv/x/spool/logs/pool-x.log",
    workers=2,
    stop_s=35,
    system=False,
)


def encoded(kind: str, made: Service) -> bytes:
    """The definition as a file."""
    return service_units.encoded(kind, service_units.text(kind, made))


TASK_SPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
# What a path may hold, with what the formats act on more often than anything else.
PATHS = st.text(
    st.one_of(
        st.sampled_from(" %$\\\"'`;:@-+!~#{}()&<>|*?="),
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\ufffe\uffff"),
    ),
    min_size=1,
    max_size=20,
).map(lambda text: "/" + text)


# ------------------------------------------------------------------------- systemd's rules, as its manual and code have


def systemd_words(line: str) -> list[str]:
    """The words of a value: quotes, C escapes and `%%`, as extract-word.c and specifier.c read them."""
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at] in " \t":
            at += 1
            continue
        word, quote = "", ""
        while at < len(line) and (quote or line[at] not in " \t"):
            letter = line[at]
            if letter == "\\":
                assert line[at + 1] in '\\"', "an escape that means something else"
                word += line[at + 1]
                at += 2
                continue
            at += 1
            if quote:
                if letter == quote:
                    quote = ""
                    continue
            elif letter in "\"'":
                quote = letter
                continue
            word += letter
        assert not quote, "an open quote"
        words.append(unspecified(word))
    return words


def unspecified(value: str) -> str:
    """`%%` is a percent sign; any other `%` would be filled in."""
    assert "%" not in value.replace("%%", "")
    return value.replace("%%", "%")


def systemd_argv_raw(line: str) -> list[str]:
    """What ExecStart= starts, the shell included."""
    program, *words = systemd_words(line)
    return [program, *(word.replace("$$", "$") for word in words)]


def systemd_argv(line: str) -> list[str]:
    """What ExecStart= starts: the path and the arguments, variables filled in; what sh is told to become."""
    program, *words = systemd_words(line)
    assert program.startswith("/")
    assert not set(program) & set("\"'\\$"), "refused: special characters"
    for word in words:
        assert word != ";", "the end of the command"
        assert "$" not in word.replace("$$", ""), "a variable"
    words = [word.replace("$$", "$") for word in words]
    if program == "/bin/sh":
        assert words[:2] == ["-c", 'exec "$0" "$@"']
        return words[2:]
    return [program, *words]


def values(unit: str) -> dict[str, str]:
    """The settings of a unit; comments left out, no line continued."""
    lines = [line for line in unit.split("\n") if line and line[0] not in "#;["]
    assert not any(line.endswith("\\") for line in unit.split("\n"))
    return {line.partition("=")[0]: line.partition("=")[2].strip(" \t") for line in lines}


@given(PATHS, PATHS, PATHS)
def test_systemd_starts_what_was_meant(python: str, spool: str, cwd: str) -> None:
    """By systemd's own rules every path arrives as it is, in the command and around it."""
    made = PLAIN._replace(python=python, spool=spool, cwd=cwd, path_variable=f"{cwd}:/bin", system=True)
    found = values(service_units.unit(made))
    assert systemd_argv(found["ExecStart"]) == list(made.argv)
    assert systemd_words(found["RequiresMountsFor"]) == [spool]
    assert systemd_words(found["Environment"]) == ["PYTHONUNBUFFERED=1", f"PATH={cwd}:/bin"]
    folder = unspecified(found["WorkingDirectory"])
    assert folder in (cwd, f"{cwd}/")
    assert re.findall(r"^#ReadWritePaths=(.*)$", service_units.unit(made), re.MULTILINE) == [found["RequiresMountsFor"]]


@given(PATHS, PATHS)
def test_launchd_starts_what_was_meant(python: str, spool: str) -> None:
    """A property list gives back every path as it is."""
    made = PLAIN._replace(python=python, spool=spool, cwd=spool, log=f"{spool}/x.log")
    body = plistlib.loads(encoded(LAUNCHD, made))
    assert body["ProgramArguments"] == list(made.argv)
    assert body["WorkingDirectory"] == spool
    assert body["StandardOutPath"] == f"{spool}/x.log"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters='"\ufffe\uffff')))
def test_the_task_scheduler_starts_what_was_meant(text: str) -> None:
    """A task gives back every path as it is, in the file and in what `print` shows, or is refused."""
    made = PLAIN._replace(spool="C:\\" + text, python="C:\\py & co\\pythonw.exe", cwd="C:\\" + text)
    if re.search(r"%[^%]+%|\$\(", made.spool):
        with pytest.raises(CannotSayError):
            service_units.task(made)
        return
    for root in (
        ET.fromstring(service_units.task(made)),
        ET.fromstring(encoded(TASK, made)),
    ):
        execute = {child.tag.removeprefix(TASK_SPACE): child.text for child in root.iter() if len(child) == 0}
        assert execute["Command"] == made.python
        assert execute["WorkingDirectory"] == made.cwd
        assert execute["Arguments"] == subprocess.list2cmdline(made.argv[1:])


@given(st.text(st.sampled_from('ab \t\\"')))
def test_windows_words_are_quoted_as_the_library_does(word: str) -> None:
    """The quoting is the one of subprocess, which may not be imported where it is needed."""
    assert service_units.windows_word(word) == subprocess.list2cmdline([word])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["/a\nExecStart=/bin/evil", "/a\tb", "/a\x1b[2J", "/a\udcff", "/a\x7f", "/a\x85b"])
def test_what_cannot_be_said_is_refused(kind: str, bad: str) -> None:
    """A path with a line break or a byte that is no text makes no definition, on no system."""
    for made in (PLAIN._replace(spool=bad), PLAIN._replace(cwd=bad), PLAIN._replace(python=bad)):
        with pytest.raises(CannotSayError) as caught:
            service_units.text(kind, made)
        assert str(caught.value).isprintable()


# --------------------------------------------------------------------------------------------------------- what it says


def test_a_stop_has_the_time_that_the_settings_give() -> None:
    """A pool is not killed while its jobs may still end: both graces and a margin."""
    settings = parse('stop_grace_s = "2m"\nkill_grace_s = 7.5\n')
    stop_s = service_units.stop_seconds(settings)
    assert 128 < stop_s < 180
    assert values(service_units.unit(PLAIN._replace(stop_s=stop_s)))["TimeoutStopSec"] == str(stop_s)
    assert plistlib.loads(encoded(LAUNCHD, PLAIN._replace(stop_s=stop_s)))["ExitTimeOut"] == stop_s


def test_the_unit_stops_gently_and_restarts_after_failures() -> None:
    """SIGTERM goes to the pool alone; wrong settings are not tried again; one job's memory is not the pool's end."""
    found = values(service_units.unit(PLAIN))
    wanted = {
        "KillMode": "mixed",
        "KillSignal": "SIGTERM",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2 5",
        "OOMPolicy": "continue",
        "NoNewPrivileges": "yes",
        "WantedBy": "default.target",
    }
    assert wanted.items() <= found.items()


def test_hardening_leaves_the_jobs_their_files_and_devices() -> None:
    """What would keep jobs from files, devices or the network is there as a comment only."""
    for system in (False, True):
        unit = service_units.unit(PLAIN._replace(system=system))
        for name in ("ProtectSystem", "ReadWritePaths", "PrivateTmp"):
            assert name not in values(unit)
            assert f"#{name}=" in unit
        assert not values(unit).keys() & {"ProtectHome", "PrivateDevices", "ProtectClock", "PrivateNetwork"}


def test_a_service_of_the_system_runs_as_the_user() -> None:
    """Of the system is when it starts, not as whom it runs."""
    made = PLAIN._replace(system=True)
    assert values(service_units.unit(made))["User"] == "me"
    assert values(service_units.unit(made))["WantedBy"] == "multi-user.target"
    assert plistlib.loads(encoded(LAUNCHD, made))["UserName"] == "me"
    assert "BootTrigger" in service_units.task(made)
    assert "S4U" in service_units.task(made)
    assert "User" not in values(service_units.unit(PLAIN))


def test_the_task_is_what_the_scheduler_reads() -> None:
    """UTF-16 with its mark, no time limit, on batteries too, restarted, once at a time."""
    made = PLAIN._replace(spool="C:\\Büro\\spool", user="HOST\\me")
    data = encoded(TASK, made)
    assert data.startswith("\ufeff".encode("utf-16-le"))
    assert data.decode("utf-16").startswith('<?xml version="1.0" encoding="UTF-16"?>\r\n')
    assert service_units.task(made).isascii()
    root = ET.fromstring(data)
    found = {child.tag.removeprefix(TASK_SPACE): child.text for child in root.iter() if len(child) == 0}
    wanted = {
        "ExecutionTimeLimit": "PT0S",
        "MultipleInstancesPolicy": "IgnoreNew",
        "StopIfGoingOnBatteries": "false",
        "DisallowStartIfOnBatteries": "false",
        "LogonType": "InteractiveToken",
        "UserId": "HOST\\me",
        "Interval": "PT1M",
    }
    assert wanted.items() <= found.items()
    assert 1 <= int(found["Count"] or 0) <= 255  # an unsignedByte by the schema
    assert root.find(f".//{TASK_SPACE}LogonTrigger") is not None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/shop/spool", "queuectl-shop-"),
        ("C:\\Users\\Me\\My Queue", "queuectl-my-queue-"),
        ("/spool", "queuectl-spool-"),
        ("/日本", "queuectl-spool-"),
        ("/" + "x" * 300, "queuectl-" + "x" * 40 + "-"),
    ],
)
def test_a_name_is_readable_and_nobody_else_s(path: str, name: str) -> None:
    """Two spools called `spool` are two services."""
    made = service_units.name_for(path)
    assert made.startswith(name)
    assert re.fullmatch(r"[a-z0-9-]{1,60}", made)
    assert made != service_units.name_for(path + "2")
    assert made == service_units.name_for(path)


def test_commands_go_to_the_right_manager() -> None:
    """The user's own manager for the user's own, the system's for the system's."""
    for system, word in ((False, "--user"), (True, "enable")):
        commands = service_units.activation(SYSTEMD, PLAIN._replace(system=system), "/x", again=False)
        assert ("--user" in commands[0]) == (not system)
        assert word in commands[1]
    assert service_units.activation(LAUNCHD, PLAIN, "/x", again=False) == [["launchctl", "bootstrap", "gui/1000", "/x"]]
    assert service_units.activation(LAUNCHD, PLAIN, "/x", again=True)[0][1] == "bootout"
    assert service_units.activation(TASK, PLAIN, "/x", again=False)[0][:2] == ["schtasks", "/Create"]
    before, after = service_units.deactivation(SYSTEMD, PLAIN)
    assert before == [["systemctl", "--user", "disable", "--now", "queuectl-x-123456.service"]]
    assert after == [["systemctl", "--user", "daemon-reload"]]
    assert service_units.deactivation(TASK, PLAIN)[0][0][-2:] == ["worker", "stop"]


# ------------------------------------------------------------------------------------------------------ systemd itself

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")


def verify(folder: Path, unit: str) -> str:
    """What systemd has to say against a unit: "" where nothing."""
    path = folder / "queuectl-x.service"
    path.write_text(unit, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    told = "\n".join(line for line in done.stderr.splitlines() if "queuectl" in line)
    return told or ("" if done.returncode == 0 else done.stderr)


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
def test_systemd_accepts_the_unit_with_everything_in_it(tmp_path: Path, system: bool) -> None:
    """systemd-analyze has nothing against a unit, nor against one with all the stricter options taken in."""
    made = PLAIN._replace(python=shutil.which("true") or "/bin/true", user="root", system=system)
    unit = service_units.unit(made)
    assert verify(tmp_path, unit) == ""
    assert verify(tmp_path, re.sub(r"^#(\w+=)", r"\1", unit, flags=re.MULTILINE)) == ""


STRANGE = ["sp ace", "per%cent", "ü☃", ";x", "dol$HOME", 'quo"te', "apo'strophe", "back\\slash"]


@needs_systemd
@pytest.mark.parametrize("name", STRANGE)
def test_systemd_accepts_strange_paths(tmp_path: Path, name: str) -> None:
    """systemd-analyze has nothing against a unit whose program, spool and folder have such names."""
    program = tmp_path / name / "python"
    program.parent.mkdir()
    shutil.copy(shutil.which("true") or "/bin/true", program)
    made = PLAIN._replace(python=str(program), spool=str(tmp_path / name), cwd=str(tmp_path / name))
    assert verify(tmp_path, service_units.unit(made._replace(user="root", system=True))) == ""
    if name in STRANGE[:4]:
        # It looks for the program, and so has read the very path that was meant.
        program.unlink()
        assert "is not executable" in verify(tmp_path, service_units.unit(made._replace(user="root", system=True)))


@pytest.mark.skipif(os.name == "nt", reason="needs sh")
@pytest.mark.parametrize("name", STRANGE)
def test_a_program_that_sh_starts_is_told_its_own_path(tmp_path: Path, name: str) -> None:
    """Where sh stands between, the program gets its words unchanged."""
    program = tmp_path / name / "python"
    program.parent.mkdir()
    program.symlink_to("/bin/echo")
    argv = (str(program), "-P", "a b", "$HOME", "'")
    done = subprocess.run(systemd_argv_raw(service_units.exec_start(argv)), capture_output=True, text=True, check=True)
    assert done.stdout == "-P a b $HOME '\n"


# --------------------------------------------------------------------------------------------------- nodes of a cluster


def node_unit(folder: str, *, system: bool = True) -> str:
    """The unit of a node whose keys and scratch folder are below a folder."""
    python = shutil.which("true") or "/bin/true"
    words = node_units.argv(
        python,
        "tls://head:8786",
        f"{folder}/keys",
        slots=16,
        resources=["GPU=2", "memory=64GB"],
        scratch=f"{folder}/scratch",
    )
    return node_units.unit(
        PLAIN._replace(python=python, user="root", system=system, name="n"), words, "tls://head:8786"
    )


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", ["srv", *STRANGE])
def test_systemd_accepts_the_unit_of_a_node(tmp_path: Path, name: str, system: bool) -> None:
    """systemd-analyze has nothing against it, whatever the folders are called."""
    assert verify(tmp_path, node_unit(str(tmp_path / name), system=system)) == ""


def test_the_unit_of_a_node_ends_its_commands_with_grace_and_leaves_nothing() -> None:
    """SIGTERM reaches the main process alone, SIGKILL all that is left of the control group."""
    unit = node_unit("/srv/ü 5%")
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert systemd_words(line.removeprefix("ExecStart="))[4:] == [
        *("cluster", "node", "tls://head:8786", "--keys", "/srv/ü 5%/keys", "--slots", "16"),
        *("--resource", "GPU=2", "--resource", "memory=64GB", "--scratch", "/srv/ü 5%/scratch"),
    ]
    assert {"KillMode=mixed", "SendSIGKILL=yes", "User=root", "Restart=on-failure"} <= set(unit.splitlines())
