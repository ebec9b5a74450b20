"""file_command: what a name may become, and what the settings may say."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from queuectl.errors import InvalidJobError, InvalidSettingsError
from queuectl.model import file_command, inbox

ROOT = "C:\\" if sys.platform == "win32" else "/"
GOOD: dict[str, Any] = {"path": f"{ROOT}srv", "mode": "files", "command": ["tool", "{file}"]}


def parse(**keys: Any) -> inbox.Inbox:
    """One inbox of files with these keys."""
    return inbox.parse([{**GOOD, **keys}], path="queuectl.toml")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_placeholders_are_filled_in_once_and_in_parts_of_words() -> None:
    """P10: a name that looks like a placeholder, or like a part of a shell, stays what it is."""
    words = ("tool", "{file}", "{out}/{stem}.txt", "a={name}{suffix}", "{{name}}", "{folder}", "{}", "x")
    made = file_command.fill_in(words, "/in/working/1/{out} $(x);.pdf", out="/out")
    assert made == [
        "tool",
        "/in/working/1/{out} $(x);.pdf",
        "/out/{out} $(x);.txt",
        "a={out} $(x);.pdf.pdf",
        "{name}",
        "/in/working/1",
        "{}",
        "x",
    ]


@pytest.mark.parametrize("word", ["{name}", "{stem}", "{suffix}{name}", "{stem}.txt"])
def test_no_name_becomes_an_option(word: str) -> None:
    """P10: a word of the settings may begin with a dash, a name may not make it do so."""
    with pytest.raises(InvalidJobError, match="option"):
        file_command.fill_in(("tool", word), f"{ROOT}in/--exec=x", out="")
    assert file_command.fill_in(("tool", f"-o{word}"), f"{ROOT}in/--exec=x", out="")[1].startswith("-o")


@pytest.mark.parametrize(
    ("keys", "key", "why"),
    [
        ({"command": []}, "command", "takes a list"),
        ({"command": ["{file}"]}, "command", "no placeholder in its first word"),
        ({"command": ["tool", "{fiel}"]}, "command", "there is no placeholder {fiel}"),
        ({"command": ["tool", "{out}"]}, "command", "{out} needs the key out"),
        ({"command": ["./tool", "{file}"]}, "command", "neither absolute nor a plain name"),
        ({"command": ["x.bat", "{file}"]}, "command", "cmd.exe"),
        ({"command": ["sh", "-c", "cat {file}"]}, "command", "as a program"),
        ({"command": ["python3", "-c", "print('{name}')"]}, "command", "as a program"),
        ({"command": ["awk", "-f{file}", "x"]}, "command", "as a program"),
        ({"command": ["fd", "--exec={file}"]}, "command", "runs its value"),
        ({"command": ["xargs", "{file}"]}, "command", "as commands"),
        ({"match": []}, "match", "no file would be taken"),
        ({"match": ["a/*"]}, "match", "patterns of names"),
        ({"ignore": [""]}, "ignore", "patterns of names"),
        ({"on_success": "../x"}, "on_success", "is a relative path"),
        ({"on_failure": "x/../../y"}, "on_failure", "is a relative path"),
        ({"on_success": f"{ROOT}x/../y"}, "on_success", "contains .."),
        ({"on_success": f"{ROOT}x\ny"}, "on_success", "absolute path of a folder"),
        ({"on_success": ROOT}, "on_success", "absolute path of a folder"),
        ({"on_success": f"{ROOT}x/", "on_failure": f"{ROOT}x"}, "on_failure", "is on_success too"),
        ({"on_success": "Working"}, "on_success", "working/ holds"),
        ({"on_failure": "delete"}, "on_failure", "only after success"),
        ({"on_failure": "keep"}, "on_failure", "only after success"),
        ({"on_failure": "done"}, "on_failure", "is on_success too"),
        ({"done_file": "ready"}, "done_file", "{name} or {stem}"),
        ({"done_file": "{name}"}, "done_file", "another file"),
        ({"done_file": "x/{name}"}, "done_file", "another file"),
        ({"priority": 10**9}, "priority", "whole number"),
        ({"max_retries": -1}, "max_retries", "whole number"),
        ({"timeout": 0}, "timeout", "zero"),
        ({"done_receipts": True}, "done_receipts", "is not for mode files"),
        ({"max_bytes": 5}, "max_bytes", "is not for mode files"),
        ({"mode": "trusted"}, "command", "is not for mode trusted"),
        ({"template": "t"}, "template", "use one of the two"),
        ({"params": {"x": "y"}}, "params", "is only for an inbox with template"),
        ({"params": {"x": [1]}}, "params.x", "takes a text"),
        ({"mode": "templates", "command": [], "on_success": "x"}, "on_success", "is not for mode templates"),
    ],
)
def test_a_mistake_names_its_key(keys: dict[str, Any], key: str, why: str) -> None:
    """The error names the key, what is wrong, and what to write instead."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse(**keys)
    assert f"{key}:" in str(caught.value) and why in str(caught.value)


@pytest.mark.parametrize(
    ("on_success", "on_failure"), [("done", "Done"), (f"{ROOT}x", f"{ROOT}X"), (f"{ROOT}x/", f"{ROOT}X")]
)
def test_two_folders_may_differ_in_case_only_except_on_windows(on_success: str, on_failure: str) -> None:
    """Elsewhere they are two folders."""
    if sys.platform == "win32":
        with pytest.raises(InvalidSettingsError, match="is on_success too"):
            parse(on_success=on_success, on_failure=on_failure)
    else:
        made = parse(on_success=on_success, on_failure=on_failure)
        assert (made.on_success, made.on_failure) == (on_success, on_failure)


def test_good_settings_are_taken() -> None:
    """A fixed script before the file, an option with the file in it, other folders."""
    made = parse(command=["sh", "convert.sh", "{file}", "{folder}/{stem}.txt"], on_success="archive", on_failure="bad")
    assert (made.owner, made.on_success, made.match) == ("srv", "archive", ("*",))
    assert parse(command=["tool", "--in={file}", "--out={out}/{stem}"], out="results", done_file="{stem}.ok").out


@pytest.mark.parametrize(
    ("name", "is_good"), [("a.pdf", True), ("é\u0301 .pdf", True), ("a\tb", False), ("a\udcff", False)]
)
def test_control_characters_and_bytes_are_refused_in_names(name: str, is_good: bool) -> None:
    """P10: everything else is a name like any other."""
    assert (file_command.why_bad_name(name) == "") is is_good


@pytest.mark.parametrize(
    "name",
    [
        "a.pdf.part",
        ".a.pdf.Xy12Ab",
        "a.conflict1.pdf",
        "a.Conflict.pdf",
        "a.pdf.conflict2",
        "a.rclone1a2b.pdf",
        "a.tmpAb12Cd.tar",
        "a.pdf.sb-1a2b3c4d-Xy12Ab",
        "a.pdf___jb_tmp___",
        "a (Anna's conflicted copy 2026-11-24).pdf",
    ],
)
def test_names_of_unfinished_files_keep_any_ending(name: str) -> None:
    """P11: what clients write meanwhile is left alone, also where the name ends as the file's."""
    assert file_command.is_unfinished(name)


@pytest.mark.parametrize(
    "name", ["a.pdf", "conflict.pdf", "a conflict.pdf", "a.tmp2.x y.pdf", "war.conflicts.pdf", "a.sb"]
)
def test_usual_names_are_not_left_alone(name: str) -> None:
    """A name that only reminds of these is a file's."""
    assert not file_command.is_unfinished(name)
