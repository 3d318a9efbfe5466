"""What an author's code raised, and where: for the author's eyes, since it may show data."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

OURS = Path(__file__).resolve().parent
INSTALLED = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen ",  # Python's own import.
)


def told(error: BaseException) -> str:
    """Return an exception's message and the place in the author's code that it comes from."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_ours(f.filename)]
    own = [frame for frame in frames if not frame.filename.startswith(INSTALLED)]
    if not frames or isinstance(error, SyntaxError):  # That says itself where it is.
        return message
    place = (own or frames[:1])[-1]
    return f"{message} ({shown(place.filename)}, line {place.lineno}, in {place.name})"


def is_ours(file: str) -> bool:
    return Path(file).is_relative_to(OURS)


def shown(file: str) -> str:
    """Return a path as short as whoever runs the command needs it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
