"""What a bot must not have more and more of, however many updates it handles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from .commands import ROOT, TIMEOUT

UPDATES = 5000
WARM_AFTER = 2000
GROWTH = 5.0
"""MB of memory that may come on top once the bot is warm: what allocators and caches do."""


@pytest.mark.once
@pytest.mark.parametrize("options", [["--debug"], ["--debug", "--orm"]], ids=["plain", "orm"])
def test_g4_threads_connections_and_memory_stay_as_they_are(options: list[str]) -> None:
    states = soak("--updates", str(UPDATES), *options)
    assert states[-1]["updates"] == UPDATES
    assert {state["errors"] for state in states} == {0}
    assert {state["kept_queries"] for state in states} == {0}
    assert len({state["threads"] for state in states}) == 1
    # The sessions' connection, and maybe that of a handler which has just ended.
    assert max(state["connections"] for state in states) <= (2 if "--orm" in options else 1)
    warm = [state["memory"] for state in states if state["updates"] >= WARM_AFTER]
    assert max(warm) - warm[0] < GROWTH, warm


def soak(*arguments: str) -> list[dict[str, Any]]:
    """Return what the benchmark of that name has seen."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-m", "benchmarks.soak", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "BOTSESSIONS_DATABASE": "sqlite"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
