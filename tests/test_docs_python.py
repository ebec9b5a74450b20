"""docs/python.md describes the whole library, and each of its examples runs and prints what it says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import queuectl
from queuectl import Counts, Ending, Job, Spool
from queuectl.spool.folder import SpoolDir
from tests.pool import Pool

TEXT = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^(<!-- with workers -->\n|)```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("marker", "program"), EXAMPLES)
def test_each_example_runs_and_prints_what_it_says(
    marker: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example runs in an empty folder, and each line that it prints is in the comment behind its `print`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    printed = io.StringIO()
    with contextlib.ExitStack() as stack:
        if marker:
            Spool.create("spool")
            stack.enter_context(Pool(SpoolDir("spool")).ready())
        with contextlib.redirect_stdout(printed):
            exec(program, {})
    said = re.findall(r"^ *print\(.*\)  # (.*)$", program, re.MULTILINE)
    assert [line.strip() for line in printed.getvalue().splitlines()] == said


def test_every_public_name_is_in_an_example() -> None:
    """Whoever meets a name of the library finds it used."""
    programs = "\n".join(program for _, program in EXAMPLES)
    assert [name for name in dir(queuectl) if not re.search(rf"\b{name}\b", programs)] == []


def test_every_public_method_is_in_an_example() -> None:
    """Each method and property of Spool is used on a spool."""
    programs = "\n".join(program for _, program in EXAMPLES)
    methods = [name for name in dir(Spool) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"\b[sS]pool\.{name}\b", programs)] == []


@pytest.mark.parametrize(("kind", "begin"), [(Job, "| `Job` |"), (Counts, "`Counts` has"), (Ending, "| `Ending` |")])
def test_every_field_of_a_result_is_described(kind: Any, begin: str) -> None:
    """The tables of Job and Ending, and the sentence about Counts, have each field."""
    named = getattr(kind, "__struct_fields__", None) or kind._fields
    fields = [*named, *(name for name, value in vars(kind).items() if isinstance(value, property))]
    section = TEXT[TEXT.index(begin) :].partition("\n\n")[0]
    assert [name for name in fields if f"`{name}`" not in section] == []
