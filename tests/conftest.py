"""How much hypothesis tries: few examples at hand and on every Python, always the same ones in CI.

HYPOTHESIS_PROFILE=thorough looks longer; run it by hand after a change to a parser or a core.
"""

import os

from hypothesis import HealthCheck, settings

# A shared two-core machine stalls now and then: how long an example takes says nothing about the code.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)

settings.register_profile("default", _patient)
settings.register_profile("ci", _patient, derandomize=True)
settings.register_profile("thorough", _patient, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))
