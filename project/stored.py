"""What is stored for a chat, as the chat page shows it."""

from __future__ import annotations

import json
from typing import Any

from django.urls import reverse

from botsessions.keys import per_chat
from botsessions.models import BotSession


def stored(bot: str, chat_id: int) -> dict[str, Any] | None:
    """Return the chat's row, or the rows of a multi session as one."""
    rows = list(BotSession.objects.filter(bot=bot, key=per_chat(chat=chat_id)).order_by("name"))
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
