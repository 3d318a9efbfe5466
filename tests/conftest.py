"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("botsessions", deadline=None)  # No test asserts a time.
settings.load_profile("botsessions")
