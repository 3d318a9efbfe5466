"""What is stored for a chat, as the chat page shows it."""

from __future__ import annotations

import json
from typing import Any

from django.urls import reverse

from botsessions.keys import per_chat, per_user_chat
from botsessions.models import BotSession


def stored(bot: str, chat_id: int) -> dict[str, Any] | None:
    """Return the chat's row, or the rows of several fragments as one."""
    # A conversation's key is the chat's and the user's.
    keys = (per_chat(chat=chat_id), per_user_chat(user=chat_id, chat=chat_id))
    rows = list(BotSession.objects.filter(bot=bot, key__in=keys).order_by("name"))
    if not rows:
        return None
    data = rows[0].data if not rows[0].name else {row.name: row.data for row in rows}
    return {
        "json": json.dumps(data, ensure_ascii=False, indent=2),
        "key": rows[0].key,
        "revision": "-".join(str(row.revision) for row in rows),
        "changed": max(row.updated_at for row in rows),
        "admin": reverse("admin:botsessions_botsession_change", args=[rows[0].pk]),
    }
