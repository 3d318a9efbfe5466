"""How a process that runs bots is set up."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from botsessions.management.process import MOST_UNCOLLECTED, SWITCH_SECONDS, tune


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


def test_the_garbage_collector_looks_seldom_and_not_at_what_was_there_at_the_start() -> None:
    before = gc.get_freeze_count()
    new = [[] for _ in range(1000)]
    tune()
    assert gc.get_threshold()[0] == MOST_UNCOLLECTED
    assert gc.get_freeze_count() >= before + len(new)


def test_a_thread_that_waits_for_mysql_goes_on_soon_after_the_answer() -> None:
    before = sys.getswitchinterval()
    tune()
    expected = SWITCH_SECONDS if connection.vendor == "mysql" else before
    assert sys.getswitchinterval() == pytest.approx(expected)
