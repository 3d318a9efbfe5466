"""Updates as python-telegram-bot's handlers get them, made before the clock starts."""

from __future__ import annotations

from datetime import datetime, timezone

from telegram import Chat, Message, Update, User

DATE = datetime.fromtimestamp(1_700_000_000, timezone.utc)


def message(chat: int) -> Update:
    """Return a message in a private chat."""
    return Update(
        update_id=chat,
        message=Message(
            message_id=chat,
            date=DATE,
            chat=Chat(id=chat, type=Chat.PRIVATE, first_name="Maria"),
            from_user=User(id=chat, first_name="Maria", is_bot=False),
            text="hello 🍕",
        ),
    )
