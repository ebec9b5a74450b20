"""`queuectl config`: the settings of a spool, which are a commented TOML file that people may edit as well."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from queuectl.cli import completion, context, group
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidSettingsError
from queuectl.inbox.identity import known_identity
from queuectl.model import settings
from queuectl.model.setting import SETTINGS, Setting
from queuectl.spool import settings_file
from queuectl.spool.access import unavailable
from queuectl.spool.folder import SpoolDir

if TYPE_CHECKING:
    from queuectl.model.inbox import Inbox

app = group.new_app(
    no_args_is_help=True,
    help="Example: queuectl config set max-retries 5\n\nRead and change the settings of the queue. "
    "They lie in queuectl.toml in the spool; workers read them when they start.",
)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        show_default=False,
        help="Such as max-retries or max_retries.",
        autocompletion=completion.setting_names(),
    ),
]


@app.command(short_help="Print one setting.")
def get(key: Key) -> None:
    """Example: queuectl config get max-retries

    Print one setting: the value in use, as it is or as the default has it.
    """
    spool = context.open_dir()
    known = settings.setting(key)
    printing.line(printing.safe(settings.show(_given(spool).get(known.name, known.default))))


# An unknown option would be a negative number: the error says what the setting takes, as for any other value.
@app.command("set", short_help="Change a setting.", context_settings={"ignore_unknown_options": True})
def set_(
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", show_default=False, help="5, 10m, full.", autocompletion=completion.setting_values()
        ),
    ],
) -> None:
    """Example: queuectl config set max-retries 5

    Change a setting. Comments and everything else in the file stay. Jobs that are in the queue keep what they have.
    More examples:

    \b
    queuectl config set backoff-base 2
    queuectl config set keep-done 7d
    queuectl config set hooks.on-dead '["notify-send", "A job is dead"]'
    """
    spool = context.open_dir()
    known = settings.setting(key)
    chosen = settings.from_word(known.name, value)
    text = _text(spool)
    before = settings.flat(tomllib.loads(text)).get(known.name, known.default)
    _write(spool, settings_file.edit(text, known.name, chosen))
    _told(spool, known.name, before, chosen)


@app.command(short_help="Go back to the default of a setting.")
def unset(key: Key) -> None:
    """Example: queuectl config unset max-retries

    Go back to the default of a setting. Its line is taken out of the file.
    """
    spool = context.open_dir()
    known = settings.setting(key)
    text = _text(spool)
    set_here = settings.flat(tomllib.loads(text))
    if known.name not in set_here:
        printing.message(f"{known.name} is not set; the default counts: {settings.show(known.default)}")
        return
    before = set_here[known.name]
    _write(spool, settings_file.remove(text, known.name))
    _told(spool, known.name, before, known.default)


@app.command("list", short_help="List all settings, with their defaults and meanings.")
def list_(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Example: queuectl config list

    List all settings, with their defaults and meanings. Piped, the columns are name, value, default, what it takes
    and meaning. Inboxes are listed on a terminal and with --json; docs/settings.md explains them.
    """
    spool = context.open_dir()
    given = _given(spool)
    if as_json:
        rows = [
            {
                "name": each.name,
                "value": given.get(each.name, each.default),
                "default": each.default,
                "allowed": each.allowed,
                "meaning": each.meaning,
            }
            for each in SETTINGS
        ]
        named = [
            {"owner": inbox.owner, "path": inbox.path, "mode": inbox.mode, "audience": _audience(spool, inbox)}
            for inbox in _inboxes(spool)
        ]
        printing.print_json({"version": 1, "path": spool.settings_path, "settings": rows, "inboxes": named})
        return
    if not printing.is_terminal():
        printing.table((), [_row(each, given) for each in SETTINGS])
        return
    for each in SETTINGS:
        name, value, default, allowed, meaning = _row(each, given)
        mark = "" if value == default else f"   (default: {default})"
        printing.line(f"{printing.paint(name, 'bold')} = {printing.safe(value)}{mark}")
        printing.line(f"    {meaning}")
        printing.line(f"    Takes {allowed}.")
    for inbox in _inboxes(spool):
        printing.line(
            f"{printing.paint('[[inbox]]', 'bold')} {printing.safe(inbox.path)}   ({inbox.mode}, of {inbox.owner})"
        )
        if audience := _audience(spool, inbox):
            printing.line(f"    Takes what is signed with: queuectl sign --for {audience}")


@app.command(short_help="Print where the settings file lies.")
def path() -> None:
    """Example: queuectl config path

    Print where the settings file lies. It is commented TOML, to be edited with any editor.
    """
    shown = context.open_dir().settings_path
    printing.line(printing.safe(shown) if printing.is_terminal() else shown)


def _inboxes(spool: SpoolDir) -> tuple[Inbox, ...]:
    return settings.parse(_text(spool), path=spool.settings_path).inboxes


def _audience(spool: SpoolDir, inbox: Inbox) -> str:
    """Whom jobs of an inbox have to be signed for; "" for other modes, and before a worker has made the identity."""
    return (inbox.audience or known_identity(spool)) if inbox.mode == "signed" else ""


def _row(each: Setting, given: dict[str, Any]) -> tuple[str, ...]:
    value = settings.show(given.get(each.name, each.default))
    return each.name, value, settings.show(each.default), each.allowed, each.meaning


def _text(spool: SpoolDir) -> str:
    """Return the file's text, which is TOML; the values in it may still be wrong, so that `set` can put them right."""
    text = settings_file.read(spool.settings_path)
    settings.read_table(text, path=spool.settings_path)
    return text


def _given(spool: SpoolDir) -> dict[str, Any]:
    """Return what the file sets, as it is written there, checked."""
    text = _text(spool)
    settings.given(text, path=spool.settings_path)
    return settings.flat(tomllib.loads(text))


def _write(spool: SpoolDir, text: str) -> None:
    try:
        settings_file.write(spool, text)
    except OSError as error:
        raise unavailable(spool, error) from error
    try:
        settings.given(text, path=spool.settings_path)
    except InvalidSettingsError as error:
        printing.warning(f"something else in it is wrong: {error}")


def _told(spool: SpoolDir, name: str, before: Any, now: Any) -> None:
    printing.message(f"{name} = {settings.show(now)} (was {printing.safe(settings.show(before))})")
    from queuectl.monitor import live

    if live.pools(spool):
        printing.message("workers that run go on with the old value: queuectl worker stop, then start them again")
