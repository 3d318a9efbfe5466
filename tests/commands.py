"""``manage.py`` commands in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 60


def manage(
    *arguments: str,
    env: dict[str, str],
    stdout: IO[str] | int = subprocess.PIPE,
    stdin: int | None = None,
) -> subprocess.Popen[str]:
    """Start a command; who does must end it."""
    return subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
        [sys.executable, "-u", "manage.py", *arguments],
        cwd=ROOT,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process: subprocess.Popen[str], status: int = 0) -> str:
    """Return what a command wrote, once it has ended with ``status``."""
    try:
        text, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == status, text
    return text
