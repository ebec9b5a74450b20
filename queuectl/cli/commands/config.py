"""`queuectl config`: the settings of a spool, in a commented TOML file that people may also edit."""

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
    help="Show and change settings.\n\nExample: queuectl config set max-retries 5\n\n"
    "The settings are in queuectl.toml in the spool. Workers read them when they start; `queuectl worker "
    "reload` applies most of those that concern the next attempts. Running workers use changed queues at once.",
)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        show_default=False,
        help="Name of a setting, such as max-retries or max_retries.",
        autocompletion=completion.setting_names(),
    ),
]


@app.command(short_help="Print the value of one setting.")
def get(key: Key) -> None:
    """Print the value of one setting.

    Example: queuectl config get max-retries

    If the file does not set it, the value is the default.
    """
    spool = context.open_dir()
    known = settings.setting(key)
    printing.line(printing.safe(settings.show(_given(spool).get(known.name, known.default))))


# A negative number looks like an unknown option: so the error says what the setting takes, as for any other value.
@app.command("set", short_help="Change a setting.", context_settings={"ignore_unknown_options": True})
def set_(
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            show_default=False,
            help="The value, such as 5, 10m or full.",
            autocompletion=completion.setting_values(),
        ),
    ],
) -> None:
    """Change a setting.

    \b
    Examples:
      queuectl config set max-retries 5
      queuectl config set backoff-base 2
      queuectl config set keep-done 7d
      queuectl config set queues.mail.slots 4
      queuectl config set hooks.on-dead '["notify-send", "A job is dead"]'

    Comments and all other settings in the file stay. Jobs that are already in the queue keep their retry settings.
    """
    spool = context.open_dir()
    known = settings.setting(key)
    chosen = settings.from_word(known.name, value)
    text = _text(spool)
    before = settings.flat(tomllib.loads(text)).get(known.name, known.default)
    _write(spool, settings_file.edit(text, known.name, chosen))
    _told(spool, known.name, before, chosen)


@app.command(short_help="Reset a setting to its default.")
def unset(key: Key) -> None:
    """Reset a setting to its default.

    Example: queuectl config unset max-retries

    This removes its line from the file.
    """
    spool = context.open_dir()
    known = settings.setting(key)
    text = _text(spool)
    set_here = settings.flat(tomllib.loads(text))
    if known.name not in set_here:
        printing.message(f"{known.name} is not set; it has its default: {settings.show(known.default)}")
        return
    before = set_here[known.name]
    _write(spool, settings_file.remove(text, known.name))
    _told(spool, known.name, before, known.default)


@app.command("list", short_help="List all settings with their defaults and meanings.")
def list_(as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False) -> None:
    """List all settings with their defaults and meanings.

    Example: queuectl config list

    In a pipe, the columns are name, value, default, allowed values and meaning. Inboxes are listed on a terminal and
    with --json; docs/settings.md explains them.
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
            for each in _all(given)
        ]
        named = [
            {"owner": inbox.owner, "path": inbox.path, "mode": inbox.mode, "audience": _audience(spool, inbox)}
            for inbox in _inboxes(spool)
        ]
        printing.print_json({"version": 1, "path": spool.settings_path, "settings": rows, "inboxes": named})
        return
    if not printing.is_terminal():
        printing.table((), [_row(each, given) for each in _all(given)])
        return
    for each in _all(given):
        name, value, default, allowed, meaning = _row(each, given)
        mark = "" if value == default else f"   (default: {default})"
        printing.line(f"{printing.paint(name, 'bold')} = {printing.safe(value)}{mark}")
        printing.line(f"    {meaning}")
        printing.line(f"    Allowed: {allowed}.")
    for inbox in _inboxes(spool):
        printing.line(
            f"{printing.paint('[[inbox]]', 'bold')} {printing.safe(inbox.path)}   ({inbox.mode}, owner {inbox.owner})"
        )
        if audience := _audience(spool, inbox):
            printing.line(f"    Accepts jobs that are signed with: queuectl sign --for {audience}")


@app.command(short_help="Print the path of the settings file.")
def path() -> None:
    """Print the path of the settings file.

    Example: queuectl config path

    The file is commented TOML. You can edit it with any editor.
    """
    shown = context.open_dir().settings_path
    printing.line(printing.safe(shown) if printing.is_terminal() else shown)


def _all(given: dict[str, Any]) -> list[Setting]:
    """Return all settings, and those of queues that the file sets."""
    return [*SETTINGS, *(settings.setting(name) for name in given if name.startswith(f"{settings.QUEUES}."))]


def _inboxes(spool: SpoolDir) -> tuple[Inbox, ...]:
    return settings.parse(_text(spool), path=spool.settings_path).inboxes


def _audience(spool: SpoolDir, inbox: Inbox) -> str:
    """Return the audience that jobs of an inbox must name; "" in other modes, and until a worker made the identity."""
    return (inbox.audience or known_identity(spool)) if inbox.mode == "signed" else ""


def _row(each: Setting, given: dict[str, Any]) -> tuple[str, ...]:
    value, default = (settings.show(value) or '""' for value in (given.get(each.name, each.default), each.default))
    return each.name, value, default, each.allowed, each.meaning


def _text(spool: SpoolDir) -> str:
    """Return the file's text, which is TOML. Its values may be invalid, so that `set` can correct them."""
    text = settings_file.read(spool.settings_path)
    settings.read_table(text, path=spool.settings_path)
    return text


def _given(spool: SpoolDir) -> dict[str, Any]:
    """Return the settings in the file as they are written there. Raises InvalidSettingsError."""
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
        printing.warning(f"another setting is invalid: {error}")


def _told(spool: SpoolDir, name: str, before: Any, now: Any) -> None:
    printing.message(f"{name} = {settings.show(now)} (was {printing.safe(settings.show(before))})")
    from queuectl.monitor import live

    if live.pools(spool) and not name.startswith(f"{settings.QUEUES}."):
        printing.message(
            "running workers keep the old value until you type: queuectl worker reload"
            if settings.setting(name).field in settings.RELOADABLE
            else "running workers keep the old value until they start again: queuectl worker stop"
        )
