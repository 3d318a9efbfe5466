"""Whether a bot can read what is stored, as far as that can be told without the bot."""

from __future__ import annotations

from typing import Any

from ..declaration import Fragment
from ..records import loads


def is_readable(fragment: Fragment[Any], text: str) -> bool:
    """Whether data of the newest version, as the database gives it as text, is what is declared."""
    try:
        fragment.codec.decode(loads(text))
    except Exception:  # Also one of the author's own type.
        return False
    return True
