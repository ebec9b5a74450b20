"""Commands on other machines: a keeper on each node owns them under a lease, and a carrier brings it messages."""

__all__ = [
    "asking",
    "carrier",
    "carriers",
    "dask_carrier",
    "health",
    "keys",
    "launch",
    "lease_model",
    "node_process",
    "process",
    "protocol",
    "trial",
    "wire",
]
