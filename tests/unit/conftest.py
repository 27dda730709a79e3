"""What all unit tests share."""

from hypothesis import settings

# A busy machine is slow; that is no failure.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
