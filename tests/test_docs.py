"""What the documents say is what the program does."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from queuectl.api import Spool
from queuectl.cli import exit_codes, group
from queuectl.errors import InvalidJobError
from queuectl.jobs.verdict import Split
from queuectl.model import job, lifecycle, settings
from queuectl.model.document import accept
from queuectl.model.setting import SETTINGS
from queuectl.monitor import facts
from queuectl.monitor.rows import EndedPool
from queuectl.spool import create
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import SCHEDULES
from tests.helpers import Desk
from tests.share import rig
from tests.unit.monitor.test_page import snapshot_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
FORMAT = create.format_text()
GENERATE: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("name", GENERATE["DOCUMENTS"])
def test_generated_documents_are_up_to_date(name: str) -> None:
    """docs/commands.md and docs/settings.md are what docs/generate.py makes."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == GENERATE["DOCUMENTS"][name]()


def test_every_command_is_documented() -> None:
    """docs/commands.md names every command and subcommand, and the README names only commands that there are."""
    names = [name for name, _ in GENERATE["commands"]()]
    assert [name for name in names if f"queuectl {name}" not in COMMANDS] == []
    table = README[README.index("| command | what it does |") :].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    everyday = [name for row in rows for name in re.findall(r"`([a-z][a-z ]*)`", row)]
    assert len(everyday) >= 10
    assert [name for name in everyday if name not in names] == []


def test_every_command_s_help_is_documented_once() -> None:
    """docs/commands.md has each command under its group, with its examples and options; common options are named."""
    for title, entries in group.GROUPS.items():
        part = COMMANDS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for name in entries:
            for full_name, command in GENERATE["commands"](name):
                section = part.partition(f"\n### queuectl {full_name}\n")[2].partition("\n### ")[0]
                assert f"\n```\nqueuectl {name}" in section, full_name
                spellings = [max(param.opts, key=len) for param in command.params if param.opts[0].startswith("-")]
                left_out = [each for each in spellings if not re.search(rf"`{each}\b|, {each}\b", section)]
                assert set(left_out) <= set(GENERATE["EVERYWHERE"]), full_name


def test_every_exit_code_is_documented() -> None:
    """docs/commands.md has every code that the program uses, and no other."""
    table = COMMANDS[COMMANDS.index("## Exit codes") :].partition("\n## ")[0]
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    used = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert listed == used


def test_every_setting_is_documented_and_in_the_default_file() -> None:
    """docs/settings.md and queuectl.toml explain every setting, and the default file is valid."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for setting in SETTINGS:
        assert f"`{setting.name}`" in text
        assert f"# {setting.name} = " in settings.default_text()
    assert settings.parse(settings.default_text()) == settings.defaults()


def test_every_key_of_a_job_is_in_the_format() -> None:
    """FORMAT.md has a row for every key a producer may give."""
    for key in job.KNOWN_KEYS:
        assert f"| `{key}` |" in FORMAT, key


_KEYS_WITH_KEYS = ("waiting", "finished", "next", "load", "last_hour", "ended_pool", "left_out")


def test_every_key_of_status_json_is_in_the_format() -> None:
    """FORMAT.md has a row for every key of status.json, which names the keys inside it."""
    document = facts.document(snapshot_of(ended_pool=EndedPool("died", None)), advice=("", ""))
    for key, value in document.items():
        (row,) = [line for line in FORMAT.splitlines() if line.startswith(f"| `{key}` |")]
        inside = (value or [()])[0] if isinstance(value, list) else value if key in _KEYS_WITH_KEYS else {}
        assert [part for part in inside if f"`{part}`" not in row] == [], key


def test_the_state_table_of_the_format_is_the_program_s() -> None:
    """FORMAT.md and lifecycle.TABLE list the same moves."""
    section = FORMAT[FORMAT.index("## 4. The states") :]
    rows = re.findall(r"^\| ([\w-]+) \| (\w+) \| ([\w, ]+) \| [\w, ]+ \|$", section, re.MULTILINE)
    listed = {
        ("" if state == "-" else state, event): tuple(to.split(", ")) for state, event, to in rows if state != "from"
    }
    assert listed == lifecycle.TABLE


@pytest.mark.parametrize("page", ["docs/concepts.md", "queuectl/FORMAT.md"])
def test_the_diagram_of_a_job_s_life_is_the_state_table(page: str) -> None:
    """The arrows of docs/concepts.md, those of FORMAT.md and lifecycle.TABLE are the same moves."""
    text = (ROOT / page).read_text(encoding="utf-8")
    diagram = text.partition("stateDiagram-v2\n")[2].partition("```")[0]
    arrows = re.findall(r"^    (\[\*\]|\w+) --> (\w+): ([\w, ]+)$", diagram, re.MULTILINE)
    assert len(arrows) == diagram.count("-->")
    drawn = [
        ("" if state == "[*]" else state, event, to) for state, to, events in arrows for event in events.split(", ")
    ]
    assert sorted(drawn) == sorted(
        (state, event, to) for (state, event), ends in lifecycle.TABLE.items() for to in ends
    )


def test_no_link_between_documents_is_dead() -> None:
    """Each link to a file leads to a file, and each link to a heading to a heading."""
    dead = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "queuectl" / "FORMAT.md"]:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text):
            name, _, anchor = "".join(target).partition("#")
            if name.startswith(("https:", "http:", "mailto:")):
                continue
            file = (path.parent / name).resolve() if name else path
            if not file.exists() or (anchor and anchor not in anchors(file)):
                dead.append(f"{path.name}: {''.join(target)}")
    assert dead == []


def anchors(path: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_promise_is_numbered_and_tested() -> None:
    """P1 to P14 are in FORMAT.md, and each is cited by a test."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for number in range(1, 15):
        assert f"| P{number} | **" in FORMAT
        assert re.search(rf"\bP{number}\b", tests), f"no test cites P{number}"


def test_every_example_is_valid_by_the_schema() -> None:
    """The JSON of the documents, and the schema's own examples, are jobs by the published schema."""
    schema = job.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    found = re.findall(r"'(\{\".*?\})'", README)
    found += re.findall(r"^    (\{\"command.*\})$", create.readme_text(), re.MULTILINE)
    found += re.findall(r"```json\n(.*?)```", FORMAT, re.DOTALL)
    assert len(found) >= 4
    for text in found:
        validator.validate(json.loads(text))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"command": 5})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"max_retries": 1})


def test_the_shipped_spool_is_as_init_makes_it() -> None:
    """spool/ has the texts, the settings and the examples of a new spool, and git ignores what runs there."""
    assert (ROOT / "spool" / "README.md").read_text(encoding="utf-8") == create.readme_text()
    assert (ROOT / "spool" / "queuectl.toml").read_text(encoding="utf-8") == settings.default_text()
    assert (ROOT / "spool" / "job.schema.json").read_text(encoding="utf-8") == job.schema_text()
    for name, text in create.examples().items():
        assert (ROOT / "spool" / "examples" / name).read_text(encoding="utf-8") == text, name
    for state in (*lifecycle.STATES, lifecycle.REJECTED, SCHEDULES):
        text = create.text_of(state, "README.txt")
        assert (ROOT / "spool" / state / "README.txt").read_text(encoding="utf-8") == text, state
    if shutil.which("git") is None:
        pytest.skip("git is not there to be asked what it ignores")
    for name in (
        "pending/x.json",
        "done/x.json",
        "dlq/x.json",
        "logs/x.1.log",
        ".queuectl/tmp/x",
        "schedules/x,next=20261125T020000Z.tick",
        "PAUSED",
        "status.html",
        "status.json",
        "queuectl.prom",
    ):
        done = subprocess.run(["git", "check-ignore", "-q", f"spool/{name}"], cwd=ROOT, check=False)
        assert done.returncode == 0, f"git would show spool/{name}"
    done = subprocess.run(["git", "check-ignore", "-q", "spool/dlq/README.txt"], cwd=ROOT, check=False)
    assert done.returncode == 1, "git would leave out spool/dlq/README.txt"


def test_the_texts_in_the_folders_are_six_short_lines() -> None:
    """A README.txt is read at a glance, in any editor."""
    for folder in (*lifecycle.STATES, lifecycle.REJECTED, "examples"):
        lines = create.text_of(folder, "README.txt").splitlines()
        assert len(lines) == 6 and max(map(len, lines)) <= 120, folder


def test_every_example_of_a_new_spool_is_a_job_without_a_warning() -> None:
    """What is there to be copied is valid by the schema that lies beside it, and taken in without a word."""
    validator = jsonschema.Draft202012Validator(json.loads(job.schema_text()))
    found = {name: json.loads(text) for name, text in create.examples().items() if name.endswith(".json")}
    del found["schedule.json"]  # see the next test
    assert {name.removesuffix(".json") for name in found} >= {"shell", "python", "powershell", "backup", "retry"}
    for name, document in found.items():
        validator.validate(document)
        assert document["$schema"] == "../job.schema.json", name
        taken = accept(document, defaults=settings.defaults().retry_defaults, now_at=0)
        assert taken.warnings == [], name


def test_the_schedule_of_a_new_spool_is_one(spool: SpoolDir) -> None:
    """Copied into schedules/ it has ticks, and no warning is made of it; in pending/ it says where it belongs."""
    text = create.examples()["schedule.json"]
    Path(spool.schedule_path("morning.json")).write_text(text)
    (found,) = Spool(spool.root).schedules()
    assert (found.why, found.when[:16]) == ("", "cron 0 7 * * MON")
    assert len(found.ticks(3, after_at=0)) == 3
    with pytest.raises(InvalidJobError, match="is for a schedule"):
        accept(json.loads(text), defaults=settings.defaults().retry_defaults, now_at=0)


def test_the_workflow_of_a_new_spool_is_made_as_a_whole(desk: Desk) -> None:
    """Dropped as it is: five jobs, of which four wait for others."""
    desk.drop("workflow.jsonl", create.examples()["workflow.jsonl"])
    made = desk.claims.splits.split("workflow.jsonl")
    assert isinstance(made, Split) and (made.jobs, made.refused) == (5, "")
    assert [",after=" in name for name in made.names] == [False, True, True, True, True]
    assert all(desk.record("pending", name).history[-1].event != "warning" for name in made.names)


def test_ci_runs_the_readme_s_test_command() -> None:
    """.ci/run takes the test command from the README by a pattern that finds exactly one line there."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert r"s/^\(python3 -m venv .*pytest.*\)$/\1/p" in script
    assert len(re.findall(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE)) == 1


def test_the_samba_share_of_the_document_is_the_one_that_is_tested(tmp_path: Path) -> None:
    """The [jobs] section of docs/shares.md shares pending/ only, is what the rig runs, and Samba understands it."""
    lines = rig.document_section("jobs")
    assert "path = /srv/spool/pending" in lines
    assert "read only = yes" in rig.document_section("spool")
    rig_config = rig.global_section(tmp_path / "samba", 4450) + rig.jobs_section("/srv/spool/pending", "anna")
    for line in lines:
        assert line in rig_config or line.startswith(("force user =", "valid users =")), line
    if shutil.which("testparm") is None:
        return
    config_path = tmp_path / "smb.conf"
    config_path.write_text(rig_config)
    done = subprocess.run(
        ["testparm", "-s", config_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "Unknown parameter" not in done.stderr
    assert "path = /srv/spool/pending" in done.stdout


def test_no_document_names_the_wrong_distribution() -> None:
    """The bare name on the package index belongs to somebody else."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "pyproject.toml"]:
        assert not re.search(r"(pip|uvx|pipx)[a-z ]* queuectl(?!-spool)\b", path.read_text(encoding="utf-8")), path


def readme_samples(language: str) -> list[str]:
    """The blocks of code in the README that are in a language, without the two that install."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for block in found if "install" not in block]


@pytest.mark.skipif(sys.platform == "win32", reason="the README's samples for bash")
def test_the_samples_of_the_readme_run_as_pasted(tmp_path: Path) -> None:
    """In an empty folder, one after the other, word for word; the sample of the library has workers beside it."""
    bin_dir = Path(sys.executable).parent
    if not (bin_dir / "queuectl").exists():
        pytest.skip("the command queuectl is not installed beside this Python")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL")},
        "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
        "XDG_DATA_HOME": str(tmp_path / "home"),
    }

    def run(script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    samples = readme_samples("bash")
    assert len(samples) == 7
    printed = [run(sample) for sample in samples]
    assert printed[2].endswith("Hello World\n")
    assert "FileNotFoundError" in printed[3]
    assert printed[5].endswith("I was dropped\n")
    (program,) = readme_samples("python")
    beside = "queuectl worker start >/dev/null & pool=$!; trap 'queuectl worker stop >/dev/null; wait $pool' EXIT"
    assert run(f"{beside}\npython - <<'END'\n{program}\nEND\n") == "True 0\n"
    counts = Spool(tmp_path / "spool").counts()
    assert (counts.pending, counts.running, counts.done, counts.dlq, counts.rejected) == (0, 0, 6, 0, 0)


def test_the_samples_of_the_readme_suit_powershell_too() -> None:
    """The five minutes have no word that PowerShell reads differently, and each command and option exists."""
    known = dict(GENERATE["commands"]())
    shared, _, only_bash = README[README.index("## Five minutes") :].partition("\nbash only: ")
    lines = "".join(re.findall(r"^```bash\n(.*?)^```$", shared, re.MULTILINE | re.DOTALL)).splitlines()
    assert only_bash and len(lines) > 15
    for line in lines:
        assert not re.search(r"&&|\$|\\|`|<|;(?! print)", line), line
        program, *words = line.split()
        assert program in ("queuectl", "mkdir", "echo"), line
        if program == "queuectl":
            name = next(" ".join(words[:size]) for size in (2, 1) if " ".join(words[:size]) in known)
            options = {option for param in known[name].params for option in param.opts}
            before_program = words[: words.index("--") if "--" in words else None]
            assert {word for word in before_program if word.startswith("--")} <= options, line


def typed_commands(text: str) -> list[list[str]]:
    """The words after `queuectl` of each command in a page: in its code, and between backquotes."""
    code = re.findall(
        r"(?m)^ *(?:[\w.]+ \| *)?(queuectl .*)$", "\n".join(re.findall(r"(?s)```.*?```|(?m:^ {4}[^\n]*$)", text))
    )
    lines = code + re.findall(r"`(queuectl [^`]*)`", re.sub(r"(?s)```.*?```", "", text))
    return [re.sub(r"['\"].*?['\"]|#.*|[|;&<>].*", "", line).split()[1:] for line in lines]


def test_every_command_in_the_documents_exists() -> None:
    """Each command, and each of its options, is one that the program has."""
    known = dict(GENERATE["commands"]())
    wrong = []
    for path in [ROOT / "README.md", ROOT / "queuectl" / "FORMAT.md", *(ROOT / "docs").glob("*.md")]:
        for words in typed_commands(path.read_text(encoding="utf-8")):
            typed = words[2:] if words[:1] == ["--spool"] else words
            name = next((name for name in (" ".join(typed[:2]), typed[0] if typed else "") if name in known), None)
            if name is None:
                if typed not in (["COMMAND", "--help"], ["job", "v1"]):  # any command; the text that `sign` signs
                    wrong.append(f"{path.name}: {' '.join(words)}")
                continue
            options = {option for param in known[name].params for option in (*param.opts, *param.secondary_opts)}
            given = typed[: typed.index("--")] if "--" in typed else typed
            wrong += [f"{path.name}: {word} of {name}" for word in given if word[:2] == "--" and word not in options]
    assert wrong == []


def test_what_contributing_names_is_there() -> None:
    """Whoever follows a path of CONTRIBUTING.md finds the file, and in it what is named beside it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/]+/[a-z_]+\.py)`(?::\s+`(\w+)`)?", text)
    assert len(named) > 30
    for path, name in named:
        file = next((place for place in (ROOT / "queuectl" / path, ROOT / path) if place.is_file()), None)
        assert file is not None, path
        assert re.search(rf"(?m)^ *(class |def |)({name})\b", file.read_text(encoding="utf-8")), f"{path}: {name}"
    house = text.partition("```text")[2].partition("```")[0]
    rooms = {path.parent.name for path in (ROOT / "queuectl").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"\w+", house))
