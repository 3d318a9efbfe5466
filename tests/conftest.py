"""What holds for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from botsessions.database.connections import close_databases

settings.register_profile("botsessions", deadline=None)  # No test asserts a time.
settings.register_profile("mutants", deadline=None, max_examples=20)  # They are many.
settings.load_profile("botsessions")


@pytest.fixture(scope="session", autouse=True)
def no_connection_is_left_open(django_db_setup: None) -> Iterator[None]:
    yield
    close_databases()
