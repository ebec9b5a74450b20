"""A real scheduler and real nodes on loopback, with TLS. Needs the extra dask (the group cluster)."""
