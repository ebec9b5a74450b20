"""What is in examples/ works; compress_stdlib.py is run by tests/e2e/test_example.py, scan_folder.py by a recipe."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from queuectl.model.settings import defaults
from queuectl.model.times import parse_duration
from tests.helpers import wait_until

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# The instructions of the Dockerfile, each on one line.
DOCKERFILE = re.sub(r"\\\n\s*", "", (EXAMPLES / "container" / "Dockerfile").read_text(encoding="utf-8"))


def instruction(name: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def test_every_example_is_known_to_a_test() -> None:
    """A file that is added here gets a test, or this list says which one has it."""
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if "__pycache__" not in path.parts}
    assert found == {
        "compress_stdlib.py",
        "container",
        "container/Dockerfile",
        "container/compose.yaml",
        "scan_folder.py",
    }


@pytest.mark.parametrize("name", ["compress_stdlib.py", "scan_folder.py"])
def test_each_program_explains_itself(name: str) -> None:
    """`--help` works, and the first line of the text says what the example is for."""
    done = subprocess.run([sys.executable, EXAMPLES / name, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (EXAMPLES / name).read_text(encoding="utf-8").partition('"""')[2].partition("\n")[0].rstrip(".")[
        :30
    ] in done.stdout


def test_the_image_gets_what_the_package_needs() -> None:
    """The Dockerfile copies the package and each file that pyproject.toml names, and they are there."""
    copied = {source for words in instruction("COPY") for source in words.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert copied == {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"], *packages}
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_does_not_run_as_root() -> None:
    """Jobs run as a user of their own, who owns a spool that nobody else can enter."""
    (user,) = instruction("USER")
    (run,) = [words for words in instruction("RUN") if "useradd" in words]
    assert re.search(rf"useradd .* {user}\b", run) and user != "root"
    assert f"install -d -o {user} -g {user} -m 700 /spool" in run
    assert DOCKERFILE.index("\nUSER ") > DOCKERFILE.index("\nRUN useradd")
    assert instruction("VOLUME") == ["/spool"]


@pytest.mark.skipif(sys.platform == "win32", reason="the container is a Linux one: sh, find and SIGTERM")
def test_the_image_starts_is_healthy_and_stops(tmp_path: Path) -> None:
    """CMD makes a spool and runs jobs in it, HEALTHCHECK agrees, and STOPSIGNAL ends it with a running job put back."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "queuectl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m queuectl "$@"\n')
    (bin_dir / "queuectl").chmod(0o755)
    spool = tmp_path / "spool"
    env = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
    env |= dict(word.split("=") for words in instruction("ENV") for word in words.replace("/spool", str(spool)).split())
    (command,) = instruction("CMD")
    argv = [word.replace("/spool", str(spool)) for word in json.loads(command)]
    (check,) = [words.partition(" CMD ")[2] for words in instruction("HEALTHCHECK")]
    (stop_signal,) = instruction("STOPSIGNAL")

    def queuectl(*words: str) -> int:
        return subprocess.run([bin_dir / "queuectl", *words], env=env, timeout=60, stdout=subprocess.DEVNULL).returncode

    def is_healthy() -> bool:
        words = ["sh", "-c", check.replace("/spool", str(spool))]
        return subprocess.run(words, env=env, timeout=60, stderr=subprocess.DEVNULL).returncode == 0

    assert not is_healthy()
    process = subprocess.Popen(argv, env=env, cwd=tmp_path)
    try:
        wait_until(lambda: (spool / "README.md").exists() and queuectl("enqueue", "--id", "hello", "--", "true") == 0)
        assert queuectl("wait", "hello", "--timeout", "60s") == 0
        wait_until(is_healthy)
        wait_until(lambda: queuectl("enqueue", "--id", "long", "--", "sleep", "60") == 0)
        wait_until((spool / "running" / "long.json").exists)
        process.send_signal(getattr(signal, stop_signal))  # the pool waits for the job, as long as stop_grace_s says
        wait_until(lambda: queuectl("worker", "stop", "--now") == 0)  # and here not as long as that
        assert process.wait(60) == 0
        assert (spool / "pending" / "long.json").exists()
        os.utime(spool / "status.json", (time.time() - 600,) * 2)
        assert not is_healthy()
    finally:
        process.kill()
        process.wait(60)


def test_compose_gives_the_pool_time_to_stop() -> None:
    """compose.yaml is YAML; it keeps the spool in a volume and waits longer than the pool's own graces."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    path = EXAMPLES / "container" / "compose.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    service = document["services"]["queue"]
    context = (path.parent / service["build"]["context"]).resolve()
    assert context == ROOT and (context / service["build"]["dockerfile"]).is_file()
    assert "spool:/spool" in service["volumes"] and "spool" in document["volumes"]
    assert service["stop_signal"] == instruction("STOPSIGNAL")[0]
    assert parse_duration(service["stop_grace_period"]) > defaults().stop_grace_s + defaults().kill_grace_s
    assert service["init"] and service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["restart"] == "unless-stopped"
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        words = ["docker", "compose", "-f", str(path), "config", "--quiet"]
        assert subprocess.run(words, capture_output=True, timeout=60).returncode == 0
