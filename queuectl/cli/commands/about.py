"""`queuectl schema`, `completion` and `version`: information about the program itself."""

from __future__ import annotations

import platform
import sys
from typing import Annotated, Literal

import typer

from queuectl import __version__
from queuectl.cli import group
from queuectl.cli.terminal import printing

schema_app = group.new_app()
completion_app = group.new_app()
version_app = group.new_app()


@schema_app.command()
def schema(
    what: Annotated[
        Literal["job", "schedule"],
        typer.Argument(metavar="[job|schedule]", show_default=False, help="The schema to print."),
    ] = "job",
) -> None:
    """Print the JSON Schema of a job file.

    Example: queuectl schema job > job.schema.json

    Editors use it: they complete keys and mark mistakes in a file with the key "$schema": "PATH/job.schema.json".
    """
    if what == "schedule":
        from queuectl.model import schedule

        sys.stdout.write(schedule.schema_text())
        return
    from queuectl.model import job

    sys.stdout.write(job.schema_text())


@completion_app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell", "pwsh"],
        typer.Argument(metavar="SHELL", help="bash, zsh, fish, powershell or pwsh."),
    ],
) -> None:
    """Print the completion script for your shell.

    \b
    Examples:
      queuectl completion bash >> ~/.bashrc
      queuectl completion zsh >> ~/.zshrc
      queuectl completion fish > ~/.config/fish/completions/queuectl.fish
      queuectl completion pwsh >> $PROFILE

    The command itself installs and changes nothing.
    """
    from typer._completion_shared import get_completion_script

    from queuectl.cli.context import COMPLETION_VARIABLE

    printing.exact_line(get_completion_script(prog_name="queuectl", complete_var=COMPLETION_VARIABLE, shell=shell))


@version_app.command()
def version() -> None:
    """Print the version.

    Example: queuectl version

    The line includes the versions of Python and the system, for bug reports.
    """
    system = f"{platform.system()} {platform.machine()}"
    printing.line(f"queuectl {__version__} (Python {platform.python_version()}, {system})")
