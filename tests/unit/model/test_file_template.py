"""file_template: a command of [commands] for an inbox of files: what settings may say, and what a name becomes."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from queuectl.errors import InvalidJobError, InvalidSettingsError
from queuectl.model import file_command, file_template, settings
from queuectl.model.command import Command, Param

ROOT = "C:/" if sys.platform == "win32" else "/"
COMMAND = f"""
[commands.scale]
argv = ["tool", "{{file}}", "{{size}}", "{{page}}", "{{to}}", "{{kind}}"]
[commands.scale.params]
file = {{ type = "path", under = "{ROOT}srv" }}
size = {{ type = "match", pattern = "[0-9]+x[0-9]+" }}
page = {{ type = "int", min = 1, max = 99, default = 1 }}
to = {{ type = "path", under = "{ROOT}srv" }}
kind = {{ type = "choice", of = [".pdf", ".tif"], default = ".pdf" }}
"""
PARAMS = {"size": "80x60", "to": "{out}/{stem}.txt"}


def parse(params: dict[str, Any] = PARAMS, commands: str = COMMAND, **keys: Any) -> settings.Settings:
    """The settings with one command and one inbox that uses it."""
    made: dict[str, Any] = {"path": f"{ROOT}srv/in", "mode": "files", "template": "scale", "out": f"{ROOT}srv", **keys}
    lines = [
        f"{key} = {settings.show(value) if isinstance(value, list) else repr(value)}" for key, value in made.items()
    ]
    table = ", ".join(f"{key} = {value!r}" for key, value in params.items())
    return settings.parse("\n".join([commands, "[[inbox]]", *lines, f"params = {{ {table} }}"]), path="queuectl.toml")


def words(path: str, params: dict[str, Any] = PARAMS, commands: str = COMMAND) -> list[str]:
    """The words for a file."""
    found = parse(params, commands)
    (inbox,), command = found.inboxes, found.commands["scale"]
    values = file_command.values_of(path, out=f"{ROOT}srv", subfolder="")
    return file_template.fill_in(inbox, command, values, resolve=lambda _, text: text)


def test_params_are_filled_in_by_the_inbox_by_default_and_by_the_name_of_a_placeholder() -> None:
    """P10: each is one word; a name that looks like a placeholder stays what it is."""
    path = f"{ROOT}srv/in/working/1/" + "{out} $(x).pdf"
    assert words(path) == ["tool", path, "80x60", "1", f"{ROOT}srv/" + "{out} $(x).txt", ".pdf"]
    assert words(f"{ROOT}srv/in/07.tif", {**PARAMS, "page": "{stem}", "kind": "{suffix}"})[3:] == [
        "7",
        f"{ROOT}srv/07.txt",
        ".tif",
    ]


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("x.pdf", {"page": "{stem}"}, "params.page: takes a whole number"),
        ("0.pdf", {"page": "{stem}"}, "params.page: takes a whole number from 1"),
        ("x.pdf", {"size": "{stem}"}, "params.size: does not match"),
        ("x.doc", {"kind": "{suffix}"}, "params.kind: is not one of .pdf, .tif"),
    ],
)
def test_a_name_that_makes_a_value_the_param_does_not_take_makes_no_job(
    name: str, more: dict[str, str], why: str
) -> None:
    """P10: the type decides, as it does for what a producer sends."""
    with pytest.raises(InvalidJobError) as caught:
        words(f"{ROOT}srv/in/{name}", {**PARAMS, **more})
    assert str(caught.value).startswith(why)


def test_no_name_becomes_an_option_of_a_template() -> None:
    """P10: a word of a param may not begin with a dash because of the name."""
    anything = COMMAND.replace('pattern = "[0-9]+x[0-9]+"', 'pattern = ".*"')
    for name in ("--exec=x.pdf", "+cmd.pdf", "@more.pdf"):
        with pytest.raises(InvalidJobError, match=r"like an option|become the option"):
            words(f"{ROOT}srv/in/{name}", {**PARAMS, "size": "{stem}"}, anything)
    assert words(f"{ROOT}srv/in/+x.pdf", {**PARAMS, "size": "+{stem}"}, anything)[2] == "++x"


@pytest.mark.parametrize(
    ("params", "keys", "why"),
    [
        (PARAMS, {"template": "scael"}, "[[inbox]] 1, template: there is no command 'scael' in [commands]; add"),
        ({**PARAMS, "siez": "x"}, {}, "params.siez: the command 'scale' has no such param; it has: file, kind, page"),
        ({"size": "80x60"}, {}, "params.to: the command 'scale' needs a value for {to}"),
        ({**PARAMS, "to": "{fiel}"}, {}, "params.to: '{fiel}': there is no placeholder {fiel}"),
        (PARAMS, {"out": ""}, "params.to: '{out}/{stem}.txt': {out} needs the key out"),
        ({**PARAMS, "size": "large"}, {}, "params.size: 'large' does not match"),
        ({**PARAMS, "page": 100}, {}, "params.page: 100 takes a whole number from 1 to 99"),
        ({**PARAMS, "size": "-{stem}"}, {}, "params.size: '-{stem}' begins with -"),
        (PARAMS, {"command": ["tool", "{file}"]}, "template: is given beside command"),
    ],
)
def test_a_mistake_in_the_settings_names_its_key(params: dict[str, Any], keys: dict[str, Any], why: str) -> None:
    """The error names the file, the key, what is wrong, and what to write instead."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse(params, **keys)
    assert "queuectl.toml" in str(caught.value) and why in str(caught.value)
    with pytest.raises(InvalidSettingsError):
        parse(params, commands="", **keys)


def test_no_default_hides_what_the_inbox_says() -> None:
    """A param with a default does not get a placeholder by its name; {out} needs the key out."""
    param = Param(type="match", pattern=".*", default="x")
    found = Command(argv=("tool", "{name}"), params={"name": param})
    (inbox,) = parse().inboxes
    assert file_template.sources(inbox, found) == {}
