"""What holds for all tests."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from hypothesis import settings

from botsessions.callbacks import _callbacks
from botsessions.database.connections import close_databases
from project.settings import DATABASE

from .botapi import BotApi, serving
from .tables import Tables

settings.register_profile("botsessions", deadline=None)  # No test asserts a time.
settings.register_profile("mutants", deadline=None, max_examples=20)  # They are many.
settings.load_profile("botsessions")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at once than there are processors: many wait, be it for a lease to end."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let the garbage collector look at what tests leave, not again at all that they import."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_connection_is_left_open(django_db_setup: None) -> Iterator[None]:
    yield
    close_databases()


@pytest.fixture(autouse=True)
def no_stored_job_is_left_declared() -> Iterator[None]:
    """Bots look for stored jobs as long as the code has any."""
    with mock.patch.dict(_callbacks):
        yield


# For tests that run bots in processes of their own.


@pytest.fixture
def api() -> Iterator[BotApi]:
    with serving() as api:
        yield api


@pytest.fixture
def table(tmp_path: Path, django_db_blocker: Any) -> Iterator[Tables]:
    name = str(tmp_path / "db.sqlite3") if DATABASE == "sqlite" else f"bots_{uuid4().hex}"
    with django_db_blocker.unblock(), Tables(name).made() as tables:
        yield tables
