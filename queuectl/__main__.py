"""Entry of the command `queuectl` and of `python -m queuectl`.

Imports nothing before it is called: worker processes that are spawned load the main module again.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from queuectl.cli import run

    run()


if __name__ == "__main__":
    main()
