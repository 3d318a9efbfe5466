"""The files of python-telegram-bot's ``PicklePersistence``, read by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telegram.ext import PicklePersistence

KINDS = ("chat_data", "user_data", "bot_data", "conversations", "callback_data")


def is_split(path: Path) -> bool:
    """Whether ``path`` is what the names of several files begin with.

    Raises:
        FileNotFoundError: there is neither such a file nor several.
    """
    if path.is_file():
        return False
    if any(part(path, kind).is_file() for kind in KINDS):
        return True
    raise FileNotFoundError(
        f"There is no file {path}, nor {part(path, KINDS[0])} or others of a split persistence."
    )


def part(path: Path, kind: str) -> Path:
    return Path(f"{path}_{kind}")


async def unpickled(path: Path) -> Mapping[str, Any]:
    """Return what the file holds, or the files, by kind of data.

    A pickle is a program, which is run by this.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it cannot be read; what unpickling raised is the cause.
    """
    single = not is_split(path)
    persistence = PicklePersistence[Any, Any, Any](path, single_file=single)
    await persistence.get_conversations("")  # Of a single file this reads everything.
    if not single:
        await persistence.get_chat_data()
        await persistence.get_user_data()
        await persistence.get_bot_data()
        await persistence.get_callback_data()
    return {kind: getattr(persistence, kind) or {} for kind in KINDS}
