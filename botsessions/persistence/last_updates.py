"""The last update of a conversation that has a timeout: with it the handlers of that are run."""

from __future__ import annotations

from typing import Any

from telegram import Bot, Update

from .packing import unpacked
from .timeouts import UPDATE


def last_update(stored: Any, chat: str | None, bot: Bot) -> Update | None:
    """Return the update since which a conversation waits; ``None`` if somebody has deleted that.

    Args:
        chat: the id of the conversation's chat, if there is one: that of a group that has become a
            supergroup since is another one than the update's.
    """
    content = stored.get(UPDATE) if isinstance(stored, dict) else None
    if content is None:
        return None
    content = unpacked(content, bot)
    update = Update.de_json(content, bot)
    before = update.effective_chat
    if chat is None or before is None or chat == str(before.id):
        return update
    return Update.de_json(in_supergroup(content, before.id, int(chat)), bot)


def in_supergroup(content: Any, old: int, new: int) -> Any:
    """Return part of an update in which a chat has another id."""
    if isinstance(content, list):
        return [in_supergroup(item, old, new) for item in content]
    if not isinstance(content, dict):
        return content
    moved = {name: in_supergroup(item, old, new) for name, item in content.items()}
    is_chat = content.get("id") == old and "type" in content
    return moved | {"id": new, "type": "supergroup"} if is_chat else moved
