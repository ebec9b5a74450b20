"""Settings of the property tests: no deadline for one example (machines are shared), the same examples in each run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "queuectl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
# `pytest --hypothesis-profile=search -o addopts= tests/properties` looks for new examples, and longer.
settings.register_profile("search", settings.get_profile("queuectl"), derandomize=False, max_examples=2000)
settings.load_profile("queuectl")
