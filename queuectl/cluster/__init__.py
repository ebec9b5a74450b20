"""Commands on other machines: what a node, a carrier and the spool's side say to each other."""

__all__ = ["keys", "launch"]
