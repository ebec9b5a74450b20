"""How commands are run: one module for each system; `choose.make` picks it."""

__all__ = ["base", "children", "choose", "family", "posix", "windows"]
