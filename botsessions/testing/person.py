"""Somebody who talks to a bot in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from ..arguments import check_text, wrong
from ..keys import check_ids
from .answers import Message
from .updates import Json, Place, Telegram

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .client import Client

    S = TypeVar("S", default=Any)
else:
    from typing import TypeVar

    S = TypeVar("S")

A = TypeVar("A")

WRITES = "what the person writes"


class Person(Generic[A, S]):
    """Somebody in a chat with the bot. Made by a client's ``user()``."""

    def __init__(self, client: Client[A, S], place: Place) -> None:
        self.client = client
        self.place = place
        self._last: Json | None = None

    @property
    def id(self) -> int:
        """The user's id."""
        return int(self.place.user["id"])

    @property
    def session(self) -> S:
        """What the bot's session holds for this person here, ``None`` if nothing is stored.

        Of a multi session, an object with the fragments as attributes. Of the asynchronous client
        it is to be awaited.
        """
        return self.client._stored(self.place)

    def in_chat(
        self, chat: Json, *, topic: int | None = None, business: str | None = None
    ) -> Person[A, S]:
        """Return the same person in another chat.

        Args:
            chat: from the client's ``group()``, ``supergroup()`` or ``channel()``, or a person's
                ``place.chat``.
            topic: the forum topic's ``message_thread_id``; in a channel's direct messages, the id
                of the person's topic.
            business: the id of the business connection through which the bot sees the chat.
        """
        check_chat(chat)
        check_ids(topic=topic, business=business)
        return Person(self.client, self.place.moved(chat, topic, business))

    def send(self, text: str | None = None, *, wait: bool = True, **fields: Any) -> A:
        """Send a message.

        Args:
            text: the text; a leading ``/command`` is marked as one.
            wait: whether to wait for tasks of the bot, like handlers with ``block=False``.
            fields: further fields of the message, as in the Bot API: ``photo=[…]``, ``dice={…}``.
        """
        if text is not None:
            check_text("text", text, WRITES)
        place = self.place
        fields = place.message_fields() | fields
        self._last = self._updates.message(place.sender, place.chat, text, **fields)
        return self.client.feed({place.kind: self._last}, wait=wait)

    def edit(self, text: str, *, wait: bool = True) -> A:
        """Change the text of the message sent last."""
        check_text("text", text, WRITES)
        if self._last is None:
            raise ValueError("There is nothing to edit: send() something first.")
        self._last |= {"text": text, "edit_date": self._last["date"]}
        return self.client.feed({f"edited_{self.place.kind}": self._last}, wait=wait)

    def press(self, button: str, *, message: Message | None = None, wait: bool = True) -> A:
        """Press a button.

        Args:
            button: its label, or its callback data.
            message: the message below which it is; else the newest one that has it.
        """
        check_text("button", button, "its label or its callback data")
        if not isinstance(message, Message | None):
            wrong("message", message, "one of the bot's answers")
        below, found = self._button(button, message)
        if "callback_data" not in found:
            return self.send(found["text"], wait=wait)
        query = {
            "id": f"query-{below.id}",
            "from": self.place.user,
            "message": below.data,
            "chat_instance": str(below.chat_id),
            "data": found["callback_data"],
        }
        return self.client.feed({"callback_query": query}, wait=wait)

    def ask_inline(self, query: str, *, wait: bool = True) -> A:
        """Type the bot's name and ``query`` in some chat (an inline query)."""
        if not isinstance(query, str):
            wrong("query", query, "what the person types, as text")
        content = {"id": "inline", "from": self.place.user, "query": query, "offset": ""}
        return self.client.feed({"inline_query": content}, wait=wait)

    @property
    def messages(self) -> list[Message]:
        """All messages in this chat, in order."""
        kept = self.client.conversation.telegram.messages
        here = self.place.chat["id"]
        return [Message(data) for (chat, _), data in sorted(kept.items()) if chat == here]

    @property
    def _updates(self) -> Telegram:
        return self.client.conversation.updates

    def _button(self, label: str, message: Message | None) -> tuple[Message, Json]:
        messages = self.messages if message is None else [message]
        for candidate in reversed(messages):
            for button in (b for row in candidate.keyboard for b in row):
                if label in (button["text"], button.get("callback_data")):
                    return candidate, button
        labels = [b for m in messages for row in m.buttons for b in row]
        raise ValueError(f"There is no button {label!r}; there are {', '.join(labels) or 'none'}.")


def check_chat(chat: object) -> None:
    if not isinstance(chat, dict) or not {"id", "type"} <= chat.keys():
        wrong("chat", chat, "what the client's group(), supergroup() or channel() returned")
