"""Hypothesis profiles for every test; HYPOTHESIS_PROFILE or --hypothesis-profile chooses one.

No profile has a deadline per example: on a busy machine it measures the machine.
"""

import os

from hypothesis import settings

# While working: new examples on every run, failures remembered in .hypothesis/.
settings.register_profile("default", deadline=None)
# In CI: the same examples on every run, so that a red build is caused by the change; a failure prints how to repeat it.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
# Over night: many new examples.
settings.register_profile("night", deadline=None, max_examples=5000, print_blob=True)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
