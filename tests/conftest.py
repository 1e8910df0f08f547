"""What holds for every test."""

from hypothesis import settings

# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("palaestra", deadline=None, derandomize=True)
settings.load_profile("palaestra")
