"""F10: a bot that a job, task or handler ends goes down as python-telegram-bot has it go."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from .botapi import serving
from .bots.ending import TOKEN
from .commands import ROOT, TIMEOUT

pytestmark = pytest.mark.once


@pytest.mark.parametrize("what", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("where", ["job", "job by hand", "task", "handler"])
def test_f10_ptbs_shutdown_is_as_it_is_without_us(where: str, what: str) -> None:
    with_session, plain = (said(where, what, kind) for kind in ("session", "plain"))
    assert with_session == plain
    assert with_session[-1] == ("running" if where == "job by hand" else "stopped")


def said(where: str, what: str, kind: str) -> list[Any]:
    with serving() as api:
        account = api.account(TOKEN)
        account.say("x")
        ended = subprocess.run(  # noqa: S603 (nothing in it comes from outside)
            [sys.executable, "-m", "tests.bots.ending", api.url, where, what, kind],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()
