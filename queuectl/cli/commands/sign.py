"""`queuectl sign`: sign a job for an inbox of mode `signed`. Needs no spool."""

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
        str,
        typer.Argument(metavar="JOB", show_default=False, help="A file with one job as JSON, or - for standard input."),
    ] = "",
    key: Annotated[str, typer.Option(metavar="FILE", show_default=False, help="Key file, NAME.key.")] = "",
    audience: Annotated[
        str,
        typer.Option(
            "--for", metavar="NAME", show_default=False, help="Queue that may run the job: the audience of its inbox."
        ),
    ] = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long the inbox may accept it; at most 31d.")] = "1h",
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE", show_default=False, help="Write the signed job to this file atomically. Default: print it."
        ),
    ] = "",
    new_key: Annotated[
        str, typer.Option("--new-key", metavar="FILE", show_default=False, help="Only create a new key in this file.")
    ] = "",
) -> None:
    """Sign a job for an inbox that accepts only signed jobs.

    \b
    Examples:
      queuectl sign job.json --for farm --key anna.key --out drop/job.json
      queuectl sign --new-key anna.key
      echo '{"command": "backup.sh"}' | queuectl sign - --for farm --key anna.key --expires 10m > job.json

    The signed job gets "expires_at" for the signature, and an id if it has none. A job that has "expires_at" itself is
    refused: use "expires_after". A spool accepts an id once. It rejects jobs that have expired, and jobs that are
    signed for another queue.

    --for takes the inbox's "audience" in the settings, else the spool's identity. `queuectl config list` shows it, and
    so does the text of a rejected file. The name of a key is the name of its file: anna.key is anna.

    Only the owner can read a new key. Put a copy of it into the folder that the inbox names. --out never replaces a
    file.
    """
    if new_key:
        if job or key or out or audience:
            raise WrongUsageError(
                "--new-key cannot be combined with a job or other options", hint="queuectl sign --new-key anna.key"
            )
        _make_key(new_key)
        return
    if not job or not key or not audience:
        what = "the job, --key or --for is missing"
        raise WrongUsageError(what, hint="queuectl sign job.json --for NAME --key anna.key; --help explains NAME")
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
        raise WrongUsageError(f"{path} already exists", hint="use another name, or delete it first") from error
    printing.message(f"made {printing.safe(path)}; anyone who has a copy of it can sign jobs")


def _name_of(path: str) -> str:
    from queuectl.inbox import keyfile

    name = os.path.basename(path)
    if not name.endswith(keyfile.ENDING) or not keyfile.is_name(name.removesuffix(keyfile.ENDING)):
        hint = "letters and digits, with single - or _ between them, as in anna-laptop.key"
        raise WrongUsageError(f"{name!r} is not a name for a key: it must be NAME{keyfile.ENDING}", hint=hint)
    return name.removesuffix(keyfile.ENDING)


def _signed(source: str, key: str, audience: str, expires: str) -> str:
    import json

    from queuectl.inbox import keyfile, signing, trust
    from queuectl.model import document, inbox, names, settings, times

    if not inbox.is_audience(audience):
        raise WrongUsageError(f"--for: {audience[:70]!r} is not a name of a queue", hint=inbox.AUDIENCE_TAKES)
    name, now_at = _name_of(key), time.time()
    try:
        trust.check_key(key)
        secret = keyfile.read(key)
    except ValueError as error:
        raise WrongUsageError(
            f"{key} is not a key", cause=str(error), hint="to create a key: queuectl sign --new-key NAME.key"
        ) from error
    except OSError as error:
        raise WrongUsageError(f"cannot read {key}", cause=error.strerror or str(error)) from error
    try:
        expires_s = times.parse_duration(expires)
    except ValueError as error:
        raise WrongUsageError(f"--expires: {error}", hint="write 10m, 1h, 7d") from error
    if not 0 < expires_s <= signing.LONGEST_S:
        raise WrongUsageError("--expires: must be more than 0 and at most 31d", hint="write 10m, 1h, 7d")
    documents = sources.from_stdin() if source == "-" else sources.from_file(source)
    if len(documents) != 1:
        raise InvalidJobError(f"the input contains {len(documents)} jobs", hint="sign each job in its own file")
    if documents[0].get("expires_at") is not None:
        raise InvalidJobError(
            "expires_at: in a signed job this key says how long the inbox may accept the job",
            key="expires_at",
            hint="use --expires TIME for that; to limit when the job may start, use expires_after in the job",
        )
    job = {"id": names.generate_id(now_at, random.SystemRandom()), **documents[0]}
    for mine in ("history", "format", signing.AUDIENCE):
        if mine in job:
            raise InvalidJobError(f"{mine}: queuectl writes this key; remove it from the job", key=mine)
    document.accept(job, defaults=settings.defaults().retry_defaults, now_at=now_at)
    job["expires_at"] = times.to_text(now_at + expires_s)  # of the signature: the job may have expires_after
    job[signing.AUDIENCE] = audience
    return json.dumps(signing.sign(job, name, secret), indent=1, ensure_ascii=True) + "\n"


def _write(path: str, text: str) -> None:
    """Write a hidden file, then rename it: a reader never sees a part of it, and it never replaces a file."""
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
            raise WrongUsageError(f"{path} already exists", hint="use another name") from error
        raise
