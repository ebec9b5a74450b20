"""What is in examples/ works; compress_stdlib.py is run by tests/e2e/test_example.py, cluster.py by
tests/cluster/test_example.py."""

from __future__ import annotations

import importlib.util
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

from queuectl.model import inbox as model_inbox
from queuectl.model.settings import defaults
from queuectl.model.times import parse_duration
from queuectl.spool.folder import SpoolDir
from queuectl.system import environment
from tests.helpers import wait_until
from tests.pool import queuectl

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# The instructions of the Dockerfile, each on one line.
DOCKERFILE = re.sub(r"\\\n\s*", "", (EXAMPLES / "container" / "Dockerfile").read_text(encoding="utf-8"))


def instruction(name: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def test_every_example_is_known_to_a_test() -> None:
    """A file that is added here gets a test and a line in this list; README.md has a row for each."""
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if "__pycache__" not in path.parts}
    assert found == {
        "README.md",
        "check_queue.py",
        "cluster.py",
        "compress_stdlib.py",
        "container",
        "container/Dockerfile",
        "container/compose.yaml",
        "scanner",
        "scanner/Invoice 7.pdf",
        "scanner/README.md",
        "scanner/queuectl.toml",
        "scanner/thumbnail.py",
        "watch_folder.py",
    }
    linked = re.findall(r"\]\(([^)#]+)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert [target for target in linked if not (EXAMPLES / target).exists()] == []
    assert {name for name in found if "/" not in name} - {"README.md"} <= set(linked)


@pytest.mark.parametrize("name", ["check_queue.py", "cluster.py", "compress_stdlib.py", "watch_folder.py"])
def test_each_program_explains_itself(name: str) -> None:
    """`--help` works, and the first line of the text says what the example is for."""
    done = subprocess.run([sys.executable, EXAMPLES / name, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (EXAMPLES / name).read_text(encoding="utf-8").partition('"""')[2].partition("\n")[0].rstrip(".")[
        :30
    ] in done.stdout


def check_queue(status: Path, *options: str) -> tuple[int, str]:
    """Run check_queue.py; return its exit code and its line."""
    words = [sys.executable, EXAMPLES / "check_queue.py", status, *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_a_queue_is_checked_by_its_status_json(spool: SpoolDir, tmp_path: Path) -> None:
    """check_queue.py reads the real file: no dead job is OK, one is a warning, an old file is critical."""
    status = Path(spool.root, "status.json")
    assert check_queue(status)[0] == 3
    queuectl(spool, "enqueue", "--id", "good", "--command", "exit 0")
    queuectl(spool, "worker", "start", "--drain")
    assert check_queue(status) == (0, "OK: 0 pending, 0 running, 1 done, 0 dlq, 0 rejected")
    queuectl(spool, "enqueue", "--id", "bad", "--max-retries", "0", "--command", "exit 3")
    queuectl(spool, "worker", "start", "--drain")
    assert check_queue(status) == (1, "WARNING: 1 dead")
    assert check_queue(status, "--dead", "1")[0] == 0
    document = json.loads(status.read_text(encoding="utf-8"))
    document["written_at"] = "2026-01-01T00:00:00.000Z"
    document["paused"] = "moving"
    document["waiting"]["oldest"] = {"id": "late", "since": "2026-01-01T00:00:00.000Z"}
    document["inboxes"] = [{"owner": "anna", "trouble": "Permission denied"}]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document), encoding="utf-8")
    code, line = check_queue(old, "--dead", "1")
    assert code == 2
    assert re.fullmatch(
        r"CRITICAL: no workers: status.json is \d+ s old; job late has waited \d+ s; "
        r"paused: moving; inbox anna: Permission denied",
        line,
    )
    assert "no workers" not in check_queue(old, "--may-rest")[1]


def test_many_changes_of_a_folder_lead_to_one_rebuild(spool: SpoolDir, tmp_path: Path) -> None:
    """Each look that finds a change replaces the job that waits (P15)."""
    folder = tmp_path / "docs"
    folder.mkdir()
    words = [sys.executable, str(EXAMPLES / "watch_folder.py"), spool.root, str(folder), "--once", "--", "make", "site"]
    ids = [subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout for _ in range(3)]
    [name] = spool.waiting_names()
    assert name.startswith(f"{ids[-1].strip()},due=") and len(spool.job_names("done")) == 2


SCANNER = EXAMPLES / "scanner"
SCANNER_STEPS = re.findall(r"(?ms)^```bash\n(.*?)^```$", (SCANNER / "README.md").read_text(encoding="utf-8"))
HAS_PILLOW = importlib.util.find_spec("PIL") is not None


def test_the_settings_of_the_scanner_folder_are_settings() -> None:
    """Both inboxes, also where their programs are missing."""
    section = tomllib.loads((SCANNER / "queuectl.toml").read_text(encoding="utf-8"))["inbox"]
    assert [inbox.owner for inbox in model_inbox.parse(section, path="queuectl.toml")] == ["scans", "photos"]


def test_a_scanner_folder_makes_a_text_of_each_document(tmp_path: Path) -> None:
    """P2, P6: the steps of its README, as they are: a text and a thumbnail in done/, a broken file run again."""
    if sys.platform == "win32" or shutil.which("bash") is None:
        pytest.skip("the steps are for a POSIX shell")
    if shutil.which("pdftotext", path=environment.minimal_here()["PATH"]) is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    example, bin_dir = tmp_path / "example", tmp_path / "bin"
    shutil.copytree(SCANNER, example)
    settings = (example / "queuectl.toml").read_text(encoding="utf-8")
    if not HAS_PILLOW:
        settings = settings.partition("# A thumbnail")[0]
    settings = settings.replace("settle_s = 2 ", "settle_s = 0.2 ").replace('"python3"', json.dumps(sys.executable))
    (example / "queuectl.toml").write_text(settings, encoding="utf-8")
    bin_dir.mkdir()
    (bin_dir / "queuectl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m queuectl "$@"\n')
    (bin_dir / "queuectl").chmod(0o755)
    office = tmp_path / "office"
    office.mkdir(mode=0o755)
    environ = {key: text for key, text in os.environ.items() if not key.startswith("QUEUECTL")}
    environ |= {"EXAMPLE": str(example), "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}

    def run(step: str) -> str:
        words = ["bash", "-euo", "pipefail", "-c", step]
        done = subprocess.run(words, cwd=office, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (step, done.stdout, done.stderr)
        return done.stdout

    set_up, use, again = SCANNER_STEPS
    scans = office / "scans"
    try:
        run(set_up)
        if HAS_PILLOW:
            from PIL import Image

            Image.new("RGB", (900, 600), "navy").save(office / "photos" / "sea.png")
        assert "scans" in run(use)
        wait_until((scans / "failed" / "broken.pdf").exists)
        wait_until((scans / "done" / "Invoice 7.txt").exists)
        assert "forty-two euros" in (scans / "done" / "Invoice 7.txt").read_text()
        assert "May not be a PDF file" in (scans / "failed" / "broken.pdf.failed.txt").read_text()
        run(again)
        wait_until((scans / "done" / "broken.txt").exists)
        wait_until(lambda: os.listdir(scans / "failed") == [])  # the text about it goes at the next look
        if HAS_PILLOW:
            wait_until((office / "photos" / "done" / "sea.thumb.jpg").exists)
            with Image.open(office / "photos" / "done" / "sea.thumb.jpg") as made:
                assert max(made.size) == 320
    finally:
        run("queuectl worker stop")


def test_the_figures_and_keys_to_alert_on_exist(spool: SpoolDir) -> None:
    """Each `queuectl_...` of docs/operations.md is in queuectl.prom, and each key of its table is in status.json."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    queuectl(spool, "config", "set", "metrics", "true")
    queuectl(spool, "enqueue", "--command", "exit 0")
    queuectl(spool, "worker", "start", "--drain")
    exported = Path(spool.root, "queuectl.prom").read_text(encoding="utf-8")
    figures = set(re.findall(r"\bqueuectl_\w+", page))
    assert len(figures) >= 5
    assert [name for name in figures if name not in exported] == []
    document = json.loads(Path(spool.root, "status.json").read_text(encoding="utf-8"))
    for key in ("stale_after_s", "waiting", "counts", "cancelled_jobs", "paused", "inboxes", "settings_changed"):
        assert f"`{key}" in page and key in document


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


@pytest.mark.slow
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

    def call(*words: str) -> int:
        return subprocess.run([bin_dir / "queuectl", *words], env=env, timeout=60, stdout=subprocess.DEVNULL).returncode

    def is_healthy() -> bool:
        words = ["sh", "-c", check.replace("/spool", str(spool))]
        return subprocess.run(words, env=env, timeout=60, stderr=subprocess.DEVNULL).returncode == 0

    assert not is_healthy()
    process = subprocess.Popen(argv, env=env, cwd=tmp_path)
    try:
        wait_until(lambda: (spool / "README.md").exists() and call("enqueue", "--id", "hello", "--", "true") == 0)
        assert call("wait", "hello", "--timeout", "60s") == 0
        wait_until(is_healthy)
        wait_until(lambda: call("enqueue", "--id", "long", "--", "sleep", "60") == 0)
        wait_until((spool / "running" / "long.json").exists)
        process.send_signal(getattr(signal, stop_signal))  # the pool waits for the job, as long as stop_grace_s says
        wait_until(lambda: call("worker", "stop", "--now") == 0)  # and here not as long as that
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
