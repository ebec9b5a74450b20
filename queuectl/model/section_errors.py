"""Makes the errors of those sections of the settings that have parts: inboxes and commands. Computes only."""

from __future__ import annotations

from queuectl.errors import InvalidSettingsError


def of_key(path: str, key: str, what: str, *, hint: str) -> InvalidSettingsError:
    """Return the error for one mistake in the settings file at `path`: the key, and what is wrong with its value."""
    return of_mistakes(path, [f"{key}: {what}"], hint=hint)


def of_mistakes(path: str, mistakes: list[str], *, hint: str) -> InvalidSettingsError:
    """Return one error for some mistakes, each `KEY: what is wrong`. `hint` says where a whole example is."""
    return InvalidSettingsError(
        f"{path or 'queuectl.toml'}: {'; '.join(mistakes)}",
        path=path,
        key=mistakes[0].partition(":")[0],
        hint=hint,
        mistakes=tuple(mistakes),
    )
