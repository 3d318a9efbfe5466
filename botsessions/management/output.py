"""Where commands write sessions to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser


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
    """
    if path is None:
        yield stdout
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
