"""Bots in Node, with grammY's own packages."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

SOURCES = ("package.json", "package-lock.json", "bot.mjs")
INSTALL = ["ci", "--no-audit", "--no-fund", "--loglevel=error"]


class GrammyBot:
    """A bot in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hear(self, *chats: int) -> list[Any]:
        """Return what the bot says to chats that write at the same moment."""
        return self._ask(list(chats))

    def keys(self) -> list[str]:
        return self._ask(None)

    def _ask(self, question: Any) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def grammy_bot(token: str, root_url: str, kind: str = "strict") -> Iterator[GrammyBot]:
    script = workplace(Path(__file__).parent) / "bot.mjs"
    config = json.dumps({"token": token, "rootUrl": root_url, "kind": kind})
    with subprocess.Popen(  # noqa: S603
        [program("node"), str(script), config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield GrammyBot(process)
        finally:
            process.kill()


def workplace(here: Path) -> Path:
    """Return where the bot is, with its packages, which later runs of the tests find there, too.

    Args:
        here: where its sources are.

    Without Node or its packages the test is skipped; in CI it fails.
    """
    npm = program("npm")
    sources = [here / name for name in SOURCES]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"botsessions-node-{os.getuid()}-{digest}"
    directory.mkdir(0o700, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "installed").exists():
            for file in sources:
                shutil.copy(file, directory)
            done = subprocess.run(  # noqa: S603
                [npm, *INSTALL],
                cwd=directory,
                check=False,
                capture_output=True,
                text=True,
                timeout=300,
            )
            if done.returncode:
                missing(f"npm cannot install the packages: {done.stderr}")
            (directory / "installed").touch()
    return directory


def program(name: str) -> str:
    return shutil.which(name) or missing(f"The program {name} is not installed.")


def missing(problem: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)
