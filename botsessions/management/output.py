"""Where commands write sessions to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

BROKEN_PIPE = 128 + 13
"""The exit status of programs that SIGPIPE ends, as a shell shows it."""


def add_output(parser: CommandParser) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="Write to a new file that only its owner can read, not to stdout.",
    )


@contextmanager
def opened(path: Path | None, stdout: Any) -> Iterator[Any]:
    """Open a new file, or give stdout; what was written of a file does not stay if that fails.

    Raises:
        CommandError: the file is there already, or cannot be made.
        SystemExit: whoever reads stdout has enough, like ``head``.
    """
    if path is None:
        try:
            yield stdout
            stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # For what is left.
            sys.exit(BROKEN_PIPE)
        return
    try:
        path.touch(0o600, exist_ok=False)
    except OSError as exc:
        raise CommandError(f"{path} cannot be written: {exc.strerror}.") from exc
    try:
        with path.open("w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink()
        raise
