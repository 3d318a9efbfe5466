"""People and chats, and the updates that they cause."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import Any

from .offline import OfflineTelegram

COMMAND = re.compile(r"/[A-Za-z0-9_]+(@\w+)?")
Json = dict[str, Any]


class Telegram:
    """Makes updates as Telegram would."""

    def __init__(self, offline: OfflineTelegram) -> None:
        self.offline = offline
        self._update_ids = itertools.count(1)
        self._user_ids = itertools.count(1001)
        self._chat_ids = itertools.count(1)

    def user(self, name: str, user_id: int | None, **fields: Any) -> Json:
        first, _, last = name.partition(" ")
        names = {"first_name": first, "last_name": last} if last else {"first_name": first}
        return {"id": user_id or next(self._user_ids), "is_bot": False, **names, **fields}

    def private_chat(self, user: Json) -> Json:
        names = ("first_name", "last_name", "username")
        return {"type": "private"} | {n: user[n] for n in ("id", *names) if n in user}

    def chat(self, kind: str, title: str, chat_id: int | None, **fields: Any) -> Json:
        number = next(self._chat_ids)
        default = -number if kind == "group" else -1_000_000_000_000 - number
        return {"id": chat_id or default, "type": kind, "title": title, **fields}

    def update(self, **content: Json) -> Json:
        return {"update_id": next(self._update_ids), **content}

    def message(self, sender: Json | None, chat: Json, text: str | None, **fields: Any) -> Json:
        if sender is not None:
            fields = {"from": sender, **fields}
        if text is not None:
            fields = {"text": text, **fields}
            if command := COMMAND.match(text):
                entity = {"type": "bot_command", "offset": 0, "length": command.end()}
                fields.setdefault("entities", [entity])
        return self.offline.new_message(chat, **fields)


@dataclass(frozen=True)
class Place:
    """Somebody in a chat: who writes, and where."""

    user: Json
    chat: Json
    topic: int | None = None
    business: str | None = None

    def message_fields(self) -> Json:
        fields: Json = {}
        if self.topic is not None and self.chat.get("is_direct_messages"):
            fields["direct_messages_topic"] = {"topic_id": self.topic, "user": self.user}
        elif self.topic is not None:
            fields |= {"message_thread_id": self.topic, "is_topic_message": True}
        if self.business is not None:
            fields["business_connection_id"] = self.business
        return fields

    @property
    def kind(self) -> str:
        """The name of a new message's field in an update."""
        if self.chat["type"] == "channel":
            return "channel_post"
        return "message" if self.business is None else "business_message"

    @property
    def sender(self) -> Json | None:
        return None if self.chat["type"] == "channel" else self.user

    def moved(self, chat: Json, topic: int | None, business: str | None) -> Place:
        return replace(self, chat=chat, topic=topic, business=business)
