"""section_errors: the sections of inboxes and of commands report their mistakes in one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.model import command, inbox

ONE = {"name": {"argv": []}}
TWO = {"first": {"argv": []}, "second": {"argv": ["tool"], "max_retries": -1}}


@pytest.mark.parametrize(
    ("parse", "section", "keys", "hint"),
    [
        (command.parse, ONE, ["commands.name.argv"], "docs/security.md"),
        (command.parse, TWO, ["commands.first.argv", "commands.second.max_retries"], "docs/security.md"),
        (inbox.parse, [{"path": "", "mode": "trusted"}], ["[[inbox]] 1, path"], "docs/shares.md"),
        (
            inbox.parse,
            [{"path": "", "mode": "trusted"}, {"path": "x", "mode": "trusted", "max_bytes": 1}],
            ["[[inbox]] 1, path", "[[inbox]] 2, max_bytes"],
            "docs/shares.md",
        ),
    ],
)
@pytest.mark.parametrize("path", ["", "/spool/queuectl.toml"])
def test_an_error_has_the_file_all_mistakes_and_an_example(
    parse: Callable[..., Any], section: Any, keys: list[str], hint: str, path: str
) -> None:
    """Each mistake with its key; the first key is that of the error."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse(section, path=path)
    error = caught.value
    assert [text.partition(":")[0] for text in error.mistakes] == keys and error.key == keys[0]
    assert str(error) == f"{path or 'queuectl.toml'}: {'; '.join(error.mistakes)}"
    assert (error.path, hint in error.hint) == (path, True)
