"""Entry point of the command `queuectl` and of `python -m queuectl`.

Imports nothing before `main` is called, because each spawned worker process loads this module again.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from queuectl.cli import run

    run()


if __name__ == "__main__":
    main()
