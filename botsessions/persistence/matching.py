"""Which conversation an update belongs to, and whether that may take it."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any, TypeAlias

from telegram import Update
from telegram.ext import BaseHandler, ConversationHandler

from ..keys import joined
from ..steps import taking

Key: TypeAlias = "tuple[Any, ...]"
"""A conversation's, as python-telegram-bot makes it: the ids of chat, user, message."""


class ConversationKey:
    """From an update to the key of a conversation, for handlers as they are declared."""

    def __init__(self, handler: ConversationHandler[Any]) -> None:
        self._handler = handler
        parts = {
            "chat": handler.per_chat,
            "user": handler.per_user,
            "message": handler.per_message,
        }
        self._names = [name for name, is_part in parts.items() if is_part]
        # The id of a message that was sent through the bot, below which a button is, is a text.
        ids = [
            Parameter(
                name, Parameter.KEYWORD_ONLY, annotation=int | str if name == "message" else int
            )
            for name in self._names
        ]
        update = Parameter("update", Parameter.POSITIONAL_OR_KEYWORD, default=None)
        # It tells whose a conversation is.
        self.__signature__ = Signature([update, *ids])

    def __call__(self, update: Any = None, **ids: Any) -> str | None:
        if update is None:
            return (
                joined(*(ids[name] for name in self._names)) if {*ids} == {*self._names} else None
            )
        key = key_of(self._handler, update)
        return None if key is None else joined(*key)


def key_of(handler: ConversationHandler[Any], update: object) -> Key | None:
    """Return the key of an update's conversation; ``None`` for one that it never takes."""
    if not isinstance(update, Update) or update.channel_post or update.edited_channel_post:
        return None
    query = update.callback_query
    if (
        (handler.per_chat and not update.effective_chat)
        or (handler.per_user and not update.effective_user)
        or (handler.per_message and not query)
        or (query and handler.per_chat and not query.message)
    ):
        return None
    return handler._get_key(update)


def may_take(handler: ConversationHandler[Any], update: object) -> bool:
    """Whether a conversation takes an update in some state, so that its own has to be known."""
    if type(handler).check_update is not ConversationHandler.check_update:
        return True
    if key_of(handler, update) is None:
        return False
    lists = [handler.entry_points, handler.fallbacks, *states_of(handler).values()]
    return any(takes(one, update) for handlers in lists for one in handlers)


def states_of(handler: ConversationHandler[Any]) -> Mapping[object, Any]:
    """Return the handlers of the states in which an update may come."""
    timeout = handler.TIMEOUT
    return {state: some for state, some in handler.states.items() if state != timeout}


def takes(handler: BaseHandler[Any, Any, Any], update: object) -> bool:
    if isinstance(handler, ConversationHandler):
        return may_take(handler, update)
    try:
        return any(taking([handler], update))
    except Exception:  # Whoever handles the update will meet it.
        return True
