"""Hypothesis profiles: the same examples every time, and HYPOTHESIS_PROFILE=explore for new ones."""

import os

from hypothesis import HealthCheck, settings

# A shared two-core machine is slow now and then: time is pytest-timeout's business.
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "same")
