"""How commands are run: one module for each system, chosen by `base.make`."""

__all__ = ["base", "family", "posix", "windows"]
