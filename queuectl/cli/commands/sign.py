"""`queuectl sign`: a job with the proof of who made it, for an inbox of mode signed. Needs no spool."""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Annotated

import typer

from queuectl.cli import group, sources
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidJobError

app = group.new_app()


@app.command()
def sign(
    job: Annotated[
        str, typer.Argument(metavar="JOB", show_default=False, help="A file with one job as JSON, or - to read one.")
    ] = "",
    key: Annotated[str, typer.Option(metavar="FILE", show_default=False, help="The key: a file NAME.key.")] = "",
    audience: Annotated[
        str,
        typer.Option(
            "--for", metavar="NAME", show_default=False, help="The queue that may run it; its inbox knows the name."
        ),
    ] = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long it may wait to be taken in.")] = "1h",
    out: Annotated[
        str, typer.Option(metavar="FILE", show_default=False, help="Write it there, whole at once. Default: print it.")
    ] = "",
    new_key: Annotated[
        str, typer.Option("--new-key", metavar="FILE", show_default=False, help="Make a new key there, and end.")
    ] = "",
) -> None:
    """Example: queuectl sign job.json --for farm --key anna.key --out drop/job.json

    Sign a job for an inbox that takes only signed ones. It gets an id where it has none, and "expires_at". A spool
    takes an id once; what has expired it refuses, and what is signed for another queue. --for is the inbox's "audience"
    in the settings, else the spool's identity: `queuectl config list` shows it, and a refusal too. The key's name is
    its file's: anna.key is anna. More examples:

    \b
    queuectl sign --new-key anna.key
    echo '{"command": "backup.sh"}' | queuectl sign - --for farm --key anna.key --expires 10m > job.json

    A new key can be read by its owner only; put a copy into the folder that the inbox names. --out replaces nothing.
    """
    if new_key:
        if job or key or out or audience:
            raise WrongUsageError("--new-key makes a key and signs nothing", hint="queuectl sign --new-key anna.key")
        _make_key(new_key)
        return
    if not job or not key or not audience:
        what = "a job, a key and the name of the queue are needed"
        raise WrongUsageError(what, hint="queuectl sign job.json --for NAME --key anna.key; NAME: see --help")
    text = _signed(job, key, audience, expires)
    if out:
        _write(out, text)
    else:
        sys.stdout.write(text)


def _make_key(path: str) -> None:
    from queuectl.inbox import keyfile

    _name_of(path)
    try:
        keyfile.create(path)
    except FileExistsError as error:
        raise WrongUsageError(f"there is a {path} already", hint="take another name, or delete it first") from error
    printing.message(f"made {printing.safe(path)}; whoever has a copy of it can sign")


def _name_of(path: str) -> str:
    from queuectl.inbox import keyfile

    name = os.path.basename(path)
    if not name.endswith(keyfile.ENDING) or not keyfile.is_name(name.removesuffix(keyfile.ENDING)):
        hint = "letters and digits, with single - or _ between them, as in anna-laptop.key"
        raise WrongUsageError(f"{name!r} is no name of a key: it is NAME{keyfile.ENDING}", hint=hint)
    return name.removesuffix(keyfile.ENDING)


def _signed(source: str, key: str, audience: str, expires: str) -> str:
    import json

    from queuectl.inbox import keyfile, signing, trust
    from queuectl.model import document, inbox, names, settings, times

    if not inbox.is_audience(audience):
        raise WrongUsageError(f"--for: {audience[:70]!r} is no name of a queue", hint=inbox.AUDIENCE_TAKES)
    name, now_at = _name_of(key), time.time()
    try:
        trust.check_key(key)
        secret = keyfile.read(key)
    except ValueError as error:
        raise WrongUsageError(
            f"{key} is no key: {error}", hint="queuectl sign --new-key NAME.key  makes one"
        ) from error
    except OSError as error:
        raise WrongUsageError(f"cannot read {key}", cause=error.strerror or str(error)) from error
    try:
        expires_s = times.parse_duration(expires)
    except ValueError as error:
        raise WrongUsageError(f"--expires: {error}", hint="write 10m, 1h, 7d") from error
    if not 0 < expires_s <= signing.LONGEST_S:
        raise WrongUsageError("--expires takes more than nothing and at most 31d")
    documents = sources.from_stdin() if source == "-" else sources.from_file(source)
    if len(documents) != 1:
        raise InvalidJobError(f"{len(documents)} jobs are in it", hint="sign each in a file of its own")
    job = {"id": names.generate_id(now_at, random.SystemRandom()), **documents[0]}
    job["expires_at"] = times.to_text(now_at + expires_s)
    for mine in ("history", "format", signing.AUDIENCE):
        if mine in job:
            raise InvalidJobError(f"{mine}: is written by queuectl, and is not to be in the job", key=mine)
    document.accept(job, defaults=settings.defaults().retry_defaults, now_at=now_at)
    job[signing.AUDIENCE] = audience
    return json.dumps(signing.sign(job, name, secret), indent=1, ensure_ascii=True) + "\n"


def _write(path: str, text: str) -> None:
    """Under a hidden name first, then renamed: nobody sees half of it, and nothing is replaced."""
    from queuectl.model import names
    from queuectl.system import disk

    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{names.new_token(random.SystemRandom(), 8)}.tmp")
    disk.create(temporary, text.encode("ascii"), sync=True, mode=disk.FILE_MODE)
    try:
        disk.move(temporary, path)
    except OSError as error:
        disk.unlink(temporary)
        if isinstance(error, FileExistsError):
            raise WrongUsageError(f"there is a {path} already", hint="take another name") from error
        raise
