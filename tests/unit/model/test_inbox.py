"""inboxes: what `[[inbox]]` may say, and how a mistake in it is told."""

from __future__ import annotations

import re
import sys

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.model import settings

GOOD = '[[inbox]]\npath = "/srv/drop/anna"\nmode = "trusted"\n'


def test_an_inbox_gets_its_owner_from_its_folder() -> None:
    """The defaults are those of docs/settings.md."""
    (inbox,) = settings.parse(GOOD).inboxes
    assert (inbox.owner, inbox.receipts, inbox.done_receipts, inbox.max_waiting) == ("anna", True, False, 1000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[inbox]\npath = "x"\nmode = "trusted"\n', "two brackets"),
        (GOOD + 'onwer = "x"\n', "did you mean owner?"),
        ('[[inbox]]\nmode = "trusted"\n', "[[inbox]] 1, path: is missing"),
        ('[[inbox]]\npath = "x"\nmode = "open"\n', "trusted, templates, signed"),
        (GOOD + GOOD, "given twice"),
        (GOOD + "max_waiting = 0\n", "[[inbox]] 1, max_waiting: takes a whole number of 1 or more"),
    ],
)
def test_a_mistake_names_the_file_and_what_is_allowed(text: str, told: str) -> None:
    """Workers do not start on a mistake, and it says what to write instead."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.parse(text, path="queuectl.toml")
    assert "queuectl.toml" in str(caught.value) and told in str(caught.value)


def test_owners_ignore_case_and_paths_only_on_windows() -> None:
    """Ids ignore case everywhere, and begin with the owner; folders ignore it on Windows."""
    both = GOOD + GOOD.replace("anna", "Anna")
    with pytest.raises(InvalidSettingsError, match="owner: 'anna' is given twice"):
        settings.parse(both)
    others = both + 'owner = "berta"\n'
    if sys.platform == "win32":
        with pytest.raises(InvalidSettingsError, match=r"path: .* is given twice"):
            settings.parse(others)
    else:
        assert [each.path for each in settings.parse(others).inboxes] == ["/srv/drop/anna", "/srv/drop/Anna"]


@pytest.mark.skipif(sys.platform == "win32", reason="its paths are those of POSIX")
def test_the_example_in_a_new_spool_is_one() -> None:
    """Without the # in front it is an inbox and a command."""
    text = settings.default_text()
    example = text[text.index("# [[inbox]]") :]
    lines = [line[2:] for line in example.splitlines() if re.match(r"# (\[|[a-z_]+ = )", line)]
    made = settings.parse("\n".join(lines))
    assert made.inboxes[0].owner == "anna" and list(made.commands) == ["resize"]
