"""config: the settings and their file."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.model import settings
from queuectl.model.setting import SETTINGS, Setting


def test_new_file_sets_nothing() -> None:
    """The file of a new spool is all comments: the defaults count."""
    assert settings.given(settings.default_text()) == {}
    assert settings.parse(settings.default_text()) == settings.defaults() == settings.parse("")


def test_new_file_explains_every_setting() -> None:
    """Each setting is in the file with its meaning, range and default."""
    text = settings.default_text()
    unfolded = text.replace("\n# ", " ")
    for known in SETTINGS:
        assert known.meaning in unfolded
        assert known.allowed in text
        assert f"\n# {known.name} = " in text


@pytest.mark.parametrize("known", SETTINGS, ids=lambda known: known.name)
def test_commented_default_is_the_default(known: Setting) -> None:
    """Taking away the # in front of a setting changes nothing."""
    text = "\n".join(
        line[2:] if line.startswith(f"# {known.name} = ") else line for line in settings.default_text().splitlines()
    )
    assert list(settings.given(text)) == [known.name]
    assert settings.parse(text) == settings.defaults()


def test_settings_and_table_name_the_same() -> None:
    """No setting is without a field, no field without a setting."""
    sections = ("inboxes", "commands", "queues")
    assert settings.Settings._fields == tuple(known.field for known in SETTINGS) + sections


def test_a_hook_is_typed_as_a_list() -> None:
    """`config set` takes what stands in the file."""
    assert settings.from_word("hooks.on-dead", '["notify-send", "A job is dead"]') == ["notify-send", "A job is dead"]
    for word in ("notify", '["a"', '[""]', "[5]", '["a\\u0000"]'):
        with pytest.raises(InvalidSettingsError) as caught:
            settings.from_word("hooks.on_dead", word)
        assert "notify-send" in str(caught.value)
    with pytest.raises(InvalidSettingsError, match="unknown key") as caught:
        settings.parse("[hooks]\non_deed = []")
    assert "did you mean hooks.on_dead?" in str(caught.value)


def test_durations_are_seconds_and_forever_is_none() -> None:
    """A setting in use is a number, whatever way it was written."""
    made = settings.parse('backoff_max = "10m"\nkeep_done = "forever"\nkeep_dlq = "90d"\nscan_s = 0.5')
    assert (made.backoff_max, made.keep_done, made.keep_dlq, made.scan_s) == (600, None, 90 * 86400, 0.5)
    assert made.retry_defaults == (3, 2, 600, 0, {})


def test_limits_are_numbers_and_none_is_no_limit() -> None:
    """By default a run may last for ever and print 1 GiB; both can be set and taken away."""
    assert (settings.defaults().timeout, settings.defaults().output_max) == (None, 1 << 30)
    made = settings.parse('timeout = "2h"\noutput_max = "10M"')
    assert (made.timeout, made.output_max) == (7200, 10 << 20)
    made = settings.parse('timeout = "forever"\noutput_max = "unlimited"')
    assert (made.timeout, made.output_max) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("max_retries", 2.5),
        ("max_retries", True),
        ("max_retries", "3"),
        ("backoff_base", -0.1),
        ("backoff_base", "2"),
        ("backoff_base", float("nan")),
        ("backoff_base", float("inf")),
        ("backoff_max", "forever"),
        ("timeout", 0),
        ("timeout", "never"),
        ("output_max", 0),
        ("output_max", 1.5),
        ("output_max", "lots"),
        ("output_max", True),
        ("backoff_max", "soon"),
        ("jitter", 1.01),
        ("settle_s", 0),
        ("scan_s", 0.01),
        ("scan_s", "2h"),
        ("stop_grace_s", -1),
        ("kill_grace_s", "2h"),
        ("shell", "fish"),
        ("shell", ["sh"]),
        ("durability", "always"),
        ("keep_done", "never"),
        ("keep_dlq", {}),
        ("keep_dlq", [1]),
        ("dashboard", "on"),
        ("dashboard", False),
        ("metrics", "true"),
        ("metrics", 1),
    ],
)
def test_value_out_of_range_names_file_key_and_what_is_allowed(name: str, value: Any) -> None:
    """A person who made a mistake is told where and what to write."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.check(name, value, path="/spool/queuectl.toml")
    assert "/spool/queuectl.toml" in str(caught.value)
    assert caught.value.key == name
    assert f"{name}: takes {settings.setting(name).allowed}, not " in str(caught.value)


def test_long_value_is_not_repeated_at_length() -> None:
    """An error stays readable, whatever was written."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.check("shell", "x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text", ["max_retires = 3", "[max_retries]\nx = 1", "max-retries = 3", "[commands.x]\nargv = []"]
)
def test_unknown_key_or_shape_is_an_error(text: str) -> None:
    """A setting that is not obeyed is never silently passed over."""
    with pytest.raises(InvalidSettingsError):
        settings.parse(text, path="q.toml")


def test_unknown_key_names_the_nearest() -> None:
    """A typing error is found at once."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.parse("max_retires = 3", path="q.toml")
    assert str(caught.value) == "q.toml: line 1: max_retires: unknown key; did you mean max_retries?"


def test_all_mistakes_are_named_at_once_with_their_lines() -> None:
    """Whoever corrects a file corrects it once: settings, hooks, inboxes and commands in one answer."""
    text = """max_retries = "3"
keep_done = 1979-05-27
max_retires = 3
hooks.on_dead = "x"
[[inbox]]
path = "/a"
mode = "open"
onwer = "x"
[[inbox]]
path = 5
mode = "trusted"
tags = [1]
[commands.a]
argv = "x"
[commands.a.params.b]
type = "text"
"""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.parse(text, path="q.toml")
    assert caught.value.mistakes == (
        'line 1: max_retries: takes a whole number from 0 to 1000000, not the text "3"',
        "line 2: keep_done: takes a duration such as 12h or 30d, or forever, not a date or a time",
        "line 3: max_retires: unknown key; did you mean max_retries?",
        f'hooks.on_dead: takes {settings.setting("hooks.on_dead").allowed}, not the text "x"',
        '[[inbox]] 1, mode: takes one of trusted, templates, signed, files, not the text "open"',
        "[[inbox]] 1, onwer: unknown key; did you mean owner?",
        "[[inbox]] 2, path: takes a text, not the number 5",
        "[[inbox]] 2, tags[0]: takes a text, not the number 1",
        'commands.a.argv: takes a list of texts, not the text "x"',
        'commands.a.params.b.type: takes one of path, match, choice, int, not the text "text"',
    )


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("max_retries = 3,", "line 1: there is more text after the value", "end the line"),
        ("max_retries 3", "line 1: an = is missing", "NAME = VALUE"),
        ("\nshell = sh", "line 2: this is neither a number, true, false nor a text in quotes", "double quotes"),
        ('shell = "sh\n', "line 1: a text does not end on its line", "close it"),
        ("jitter = 0\njitter = 1\n", "line 2: this key is set twice", "remove one"),
        ("jitter = 0\njitter = 1", "the last line: this key is set twice", "remove one"),
        ("[hooks\n", "line 1: a ] is missing", "close the heading"),
        ("jitter = 0\nmax_retries = ", "line 2: the value after = is missing", "for example: max_retries = 3"),
        ("max_retries =\njitter = 0\n", "line 1: the value after = is missing", "for example: max_retries = 3"),
        ("max_retries = # how often", "line 1: the value after = is missing", "for example: max_retries = 3"),
        ("max_retries = # how often\n", "line 1: the value after = is missing", "for example: max_retries = 3"),
        ("x = [1,", "it ends in the middle of a value", "write the rest"),
        ("?", "line 1: this is neither NAME = VALUE nor [TABLE]", "correct this line"),
    ],
)
def test_broken_toml_is_explained_in_plain_words(text: str, why: str, hint: str) -> None:
    """The parser's words are of its grammar: here are the line, a mark in it, and what to write."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.parse(text, path="q.toml")
    assert why in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.cause == "" or "^ here" in caught.value.cause


@pytest.mark.parametrize("text", ["max_retries = ", "= 3", "max_retries = 3\nmax_retries = 4", "x = " + "[" * 5000])
def test_broken_toml_is_one_error(text: str) -> None:
    """Whatever is wrong with the text, the worker gets one kind of error that names the file."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.parse(text, path="q.toml")
    assert "q.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["max_retries", "max-retries", "Max-Retries", " MAX_RETRIES "])
def test_setting_is_found_by_any_spelling(name: str) -> None:
    """Dash and underscore are the same on a command line."""
    assert settings.setting(name).name == "max_retries"


def test_setting_that_does_not_exist_names_the_nearest() -> None:
    """`config set` with a typing error says what was meant."""
    with pytest.raises(InvalidSettingsError) as caught:
        settings.setting("max-retry")
    assert "max_retries" in caught.value.hint
    with pytest.raises(InvalidSettingsError) as caught:
        settings.setting("qqqq")
    assert "config list" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("max-retries", "5", 5),
        ("jitter", "0.5", 0.5),
        ("backoff_max", "10m", "10m"),
        ("durability", "full", "full"),
        ("keep_done", "forever", "forever"),
        ("settle_s", "120", 120),
        ("metrics", "true", True),
        ("metrics", "False", False),
        ("dashboard", "off", "off"),
    ],
)
def test_word_of_a_command_line_becomes_a_toml_value(name: str, word: str, value: Any) -> None:
    """What is typed is stored as a number where it is one."""
    made = settings.from_word(name, word)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("name", "word"),
    [("max-retries", "many"), ("jitter", "nan"), ("durability", "5"), ("max_retries", "1.5"), ("metrics", "1")],
)
def test_word_that_is_not_allowed_is_an_error(name: str, word: str) -> None:
    """Nothing wrong gets into the file."""
    with pytest.raises(InvalidSettingsError):
        settings.from_word(name, word)


@pytest.mark.parametrize(("value", "text"), [("10m", "10m"), (3, "3"), (0.5, "0.5"), (True, "true")])
def test_value_is_shown_as_it_is_written(value: object, text: str) -> None:
    """`config get` prints what could be typed again."""
    assert settings.show(value) == text


def test_default_text_is_toml() -> None:
    """The file of a new spool parses."""
    assert tomllib.loads(settings.default_text()) == {}
