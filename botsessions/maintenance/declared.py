"""What the bots of the settings declare of a stored session."""

from __future__ import annotations

from typing import Any

from ..bots import all_bots
from ..cell import Fragment


def declared(bot: str, name: str) -> Fragment[Any] | None:
    """Return the fragment that a bot declares; ``None`` where the settings know none.

    Raises:
        ImproperlyConfigured: the bot's settings are wrong.
    """
    bots = all_bots()
    return bots[bot].session.fragments.get(name) if bot in bots else None
