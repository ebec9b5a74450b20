"""`queuectl schema`, `completion` and `version`: what the program says about itself."""

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
    what: Annotated[Literal["job"], typer.Argument(metavar="[job]", show_default=False, help="Which schema.")] = "job",
) -> None:
    """Example: queuectl schema job

    Print the JSON Schema of a job file, for editors.
    They complete keys and mark mistakes in a file that says "$schema": "PATH/job.schema.json".
    """
    from queuectl.model import job

    sys.stdout.write(job.schema_text())


@completion_app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell", "pwsh"],
        typer.Argument(metavar="SHELL", help="bash, zsh, fish, powershell or pwsh."),
    ],
) -> None:
    """Example: queuectl completion bash >> ~/.bashrc

    Print the script that completes commands in your shell. Nothing is installed or changed. More examples:

    \b
    queuectl completion zsh >> ~/.zshrc
    queuectl completion fish > ~/.config/fish/completions/queuectl.fish
    queuectl completion pwsh >> $PROFILE
    """
    from typer._completion_shared import get_completion_script

    from queuectl.cli.main import COMPLETION_VARIABLE

    printing.exact_line(get_completion_script(prog_name="queuectl", complete_var=COMPLETION_VARIABLE, shell=shell))


@version_app.command()
def version() -> None:
    """Example: queuectl version

    Print the version. Beside it stand Python's version and the system, for bug reports.
    """
    system = f"{platform.system()} {platform.machine()}"
    printing.line(f"queuectl {__version__} (Python {platform.python_version()}, {system})")
