"""settings_file: queuectl.toml is read, edited and replaced."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from queuectl.errors import InvalidSettingsError, SpoolUnavailableError
from queuectl.model import settings
from queuectl.model.setting import SETTINGS, Setting
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir


@pytest.mark.parametrize("known", SETTINGS, ids=lambda known: known.name)
def test_setting_a_value_in_a_new_file_puts_it_under_its_explanation(known: Setting) -> None:
    """`config set` keeps every comment, and the value stands below its own."""
    before = settings.default_text()
    after = settings_file.edit(before, known.name, known.default)
    lines = after.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{known.name} = "))
    assert lines[at - 1].startswith(f"# {known.name} = ")
    assert [line for line in lines if line.startswith("#")] == [
        line for line in before.splitlines() if line.startswith("#")
    ]
    assert settings.given(after) == {known.name: settings.check(known.name, known.default)}


def test_comments_survive_a_change() -> None:
    """What a person wrote beside a setting stays."""
    before = "# mine\nmax_retries = 3  # as agreed with Ann\n\njitter = 0.5\n"
    after = settings_file.edit(before, "max_retries", 7)
    assert after == "# mine\nmax_retries = 7  # as agreed with Ann\n\njitter = 0.5\n"


def test_new_setting_is_added_to_a_file_without_comments() -> None:
    """A file that a person wrote from scratch can be changed too."""
    assert settings.given(settings_file.edit("jitter = 0.5", "max_retries", 7)) == {"jitter": 0.5, "max_retries": 7}


def test_removed_setting_falls_back_to_its_default() -> None:
    """`config unset` takes out the one line; removing what is not there changes nothing."""
    text = "# mine\nmax_retries = 7\njitter = 0.5\n"
    assert settings_file.remove(text, "max_retries") == "# mine\njitter = 0.5\n"
    assert settings_file.remove(text, "scan_s") == text


def test_set_and_unset_of_a_new_file_come_back_to_it() -> None:
    """Trying a setting out leaves no trace."""
    text = settings.default_text()
    assert settings_file.remove(settings_file.edit(text, "max_retries", 7), "max_retries") == text


def test_missing_file_gives_the_defaults(spool: SpoolDir) -> None:
    """A spool without settings works."""
    os.unlink(spool.settings_path)
    assert settings_file.load(spool) == settings.defaults()


def test_byte_order_mark_is_skipped(spool: SpoolDir) -> None:
    """Notepad's mark at the start of the file does no harm."""
    Path(spool.settings_path).write_bytes(b"\xef\xbb\xbfmax_retries = 7\r\n")
    assert settings_file.load(spool).max_retries == 7


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (settings_file.MAX_BYTES + 1)])
def test_file_that_is_no_text_or_too_large_is_an_error(spool: SpoolDir, data: bytes) -> None:
    """A settings file that cannot be one names itself."""
    Path(spool.settings_path).write_bytes(data)
    with pytest.raises(InvalidSettingsError) as caught:
        settings_file.load(spool)
    assert spool.settings_path in str(caught.value)


def test_hooks_may_stand_in_a_table_or_under_names_with_a_dot() -> None:
    """Both are the same to TOML, and to a person who edits the file; a change keeps what is there."""
    table = '[hooks]\n# mine\non_dead = ["notify", "dead"]\n'
    dotted = 'hooks.on_dead = ["notify", "dead"]\n'
    assert settings.parse(table) == settings.parse(dotted)
    assert settings.parse(table).on_dead == ("notify", "dead")
    for text in (table, dotted, settings.default_text()):
        text = settings_file.edit(text, "hooks.on_dead", ["a b", "ü"])
        text = settings_file.edit(text, "hooks.on_done", ["c"])
        text = settings_file.edit(text, "max_retries", 7)
        made = settings.parse(text)
        assert (made.on_dead, made.on_done, made.on_idle, made.max_retries) == (("a b", "ü"), ("c",), (), 7)
        text = settings_file.remove(settings_file.remove(text, "hooks.on_done"), "hooks.on_dead")
        assert settings.parse(text) == settings.defaults()._replace(max_retries=7)
    assert "# mine" in settings_file.edit(table, "hooks.on_done", ["c"])


def test_settings_with_a_mistake_name_the_file(spool: SpoolDir) -> None:
    """A worker does not start on a mistake in the settings."""
    Path(spool.settings_path).write_text("max_retries = -1")
    with pytest.raises(InvalidSettingsError) as caught:
        settings_file.load(spool)
    assert spool.settings_path in str(caught.value)


def test_settings_that_cannot_be_read_are_not_taken_for_none(spool: SpoolDir) -> None:
    """A settings file that is there and cannot be read is trouble, not the defaults."""
    os.unlink(spool.settings_path)
    os.mkdir(spool.settings_path)
    with pytest.raises(SpoolUnavailableError):
        settings_file.load(spool)


def test_settings_are_replaced_in_one_step(spool: SpoolDir, rng: random.Random) -> None:
    """A reader sees the old or the new settings, and nothing is left in tmp/."""
    settings_file.write(spool, "max_retries = 7\n")
    assert settings_file.load(spool).max_retries == 7
    assert os.listdir(spool.tmp_dir) == []
