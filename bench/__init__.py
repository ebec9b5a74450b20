"""Measurements of queuectl: `python -m bench`. What each one does is told in README.md."""
