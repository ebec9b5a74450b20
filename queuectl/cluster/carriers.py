"""Chooses the carrier by the scheme of the setting `cluster.scheduler`."""

from __future__ import annotations

import sys

from queuectl.cluster.carrier import Carrier
from queuectl.errors import ClusterError
from queuectl.model.settings import Settings

# Followed by a folder: keepers on this machine.
_UNIX = "unix:"


def check(settings: Settings) -> None:
    """Check what only a person can put right before a pool starts; quick, and without the network.

    Raises:
        ClusterError: no scheduler is set, this system cannot lead a cluster, or what the carrier needs is missing.
    """
    if sys.platform != "linux":
        raise ClusterError("only a Linux machine can lead a cluster", hint="start the workers on one")
    if not settings.cluster_scheduler.startswith(_UNIX):
        from queuectl.cluster import dask_carrier

        dask_carrier.check(settings)


def sends_env(settings: Settings) -> bool:
    """Return whether the variables of jobs may go to the nodes."""
    if settings.cluster_scheduler.startswith(_UNIX):
        return True
    from queuectl.cluster import dask_carrier

    return dask_carrier.sends_env(settings)


def make(settings: Settings) -> Carrier:
    """Return the carrier that the settings name."""
    if settings.cluster_scheduler.startswith(_UNIX):
        from queuectl.cluster.loopback import LoopbackCarrier

        return LoopbackCarrier(settings.cluster_scheduler.removeprefix(_UNIX))
    from queuectl.cluster import dask_carrier

    return dask_carrier.connect(settings)
