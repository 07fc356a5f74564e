"""Hypothesis profiles: `ci` draws the same examples every time; HYPOTHESIS_PROFILE or CI chooses."""

import os

from hypothesis import HealthCheck, settings

# A shared two-core machine is slow now and then: time is pytest-timeout's business.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
