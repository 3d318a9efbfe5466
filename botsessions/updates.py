"""What an update says of its chat, topic and sender, and where it hides them.

Telegram shows many senders by one stand-in, and messages of many chats under one id. Such an update
says nothing here, because no session is better than somebody else's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from telegram import Chat, Update, User
from telegram.constants import ChatID

KINDS = tuple(map(str, Update.ALL_TYPES))
"""Of updates, as the Bot API names them."""
STAND_INS = frozenset(ChatID)
"""Ids of users that stand for anonymous admins, for channels, and for Telegram itself."""


class Place(NamedTuple):
    """What makes a chat: one id may be that of several."""

    chat: int
    business: str | None
    """The id of the business connection through which the bot sees it."""
    direct_topic: int | None
    """That of a customer's topic in a channel's direct messages."""

    @property
    def ids(self) -> dict[str, int | str]:
        """Those that there are, by the names that key functions have for them."""
        ids = {**self._asdict(), "topic": self.direct_topic}  # As per_topic calls it.
        return {name: identifier for name, identifier in ids.items() if identifier is not None}


def place(update: Update) -> Place | None:
    """Return where an update is from; ``None`` if it is from no chat, or hides from which."""
    chat, message = update.effective_chat, message_of(update)
    if chat is None or is_of_a_guest(update) or hides_business(update, chat):
        return None
    topic = getattr(message, "direct_messages_topic", None)
    if topic is None and chat.is_direct_messages:
        return None
    connected = update.deleted_business_messages or message
    business = getattr(connected, "business_connection_id", None)
    return Place(chat.id, business, topic and topic.topic_id)


def sender(update: Update) -> User | Chat | None:
    """Return the person or channel that an update is from; ``None`` if that is not one alone."""
    user, chat, behalf = update.effective_user, update.effective_chat, update.effective_sender
    if isinstance(behalf, Chat):
        if behalf.type == Chat.CHANNEL and behalf != chat:
            return behalf
        if chat is None or chat.type != Chat.CHANNEL:
            return None  # The user is made up, and all admins of a group are that group.
    return None if user is None or user.id in STAND_INS else user


def customer(update: Update) -> User | None:
    """Return whose topic it is in a channel's direct messages."""
    topic = getattr(message_of(update), "direct_messages_topic", None)
    return topic and topic.user


def forum_topic(update: Update) -> int | None:
    """Return the id of an update's topic in a forum, or in the private chat with the bot."""
    message = message_of(update)
    if getattr(message, "is_topic_message", None):
        return getattr(message, "message_thread_id", None)
    return None


def hides_forum_topic(update: Update) -> bool:
    """Whether an update is from a topic, or may be, but does not say from which."""
    if not (update.message_reaction or update.message_reaction_count or is_below_an_unseen(update)):
        return False
    chat = update.effective_chat
    if chat is not None and chat.type == Chat.PRIVATE:
        return bot_may(update, "has_topics_enabled")
    return chat is not None and bool(chat.is_forum)


def hides_business(update: Update, chat: Chat) -> bool:
    """Whether a chat may be a business account's, where its id is the customer's own."""
    return (
        is_below_an_unseen(update)
        and chat.type == Chat.PRIVATE
        and bot_may(update, "can_connect_to_business")
    )


def is_below_an_unseen(update: Update) -> bool:
    """Whether a button's message is one of which Telegram shows chat and id only."""
    message: Any = update.callback_query and update.callback_query.message
    if message is None or message.is_accessible:
        return False
    # PTB makes it a Message as often as an InaccessibleMessage.
    return getattr(message, "from_user", None) is None


def is_of_a_guest(update: Update) -> bool:
    """Whether the bot was called into a chat whose id may also be that of one of its own."""
    return getattr(update, "guest_message", None) is not None


def bot_may(update: Update, ability: str) -> bool:
    """Whether the bot has an ability that ``getMe`` tells of, or may have it."""
    try:
        return bool(getattr(update.get_bot().bot, ability, True))
    except RuntimeError:  # Nobody has asked yet.
        return True


def message_of(update: Update) -> Any:
    """Return the message that an update brings or, for a button, belongs to."""
    if update.callback_query:
        return update.callback_query.message
    return update.effective_message
