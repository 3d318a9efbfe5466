"""The last update of a conversation that has a timeout: with it the handlers of that are run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from telegram import Bot, CallbackQuery, InlineKeyboardButton, Message, Update
from telegram.ext import InvalidCallbackData

from .packing import unpacked
from .timeouts import UPDATE

BUTTONS: Final = "buttons"
"""In what is stored of a conversation, what the buttons of its last update stand for: each with
whether that is known; of one that nobody knows, what Telegram has sent."""

Carrier: TypeAlias = "CallbackQuery | InlineKeyboardButton"


def kept_update(update: Update) -> dict[str, Any]:
    """Return what is stored of a conversation's last update."""
    values = [value_of(carrier) for carrier in carriers(update)]
    content = update.to_dict()
    if all(type(value) is str for value in values):
        return {UPDATE: content}
    # Of what buttons stand for, python-telegram-bot makes something else: a list of a tuple, say.
    plain = Update.de_json(content)
    for carrier in carriers(plain):
        give(carrier, "")
    return {UPDATE: plain.to_dict(), BUTTONS: [kept_value(value) for value in values]}


def kept_value(value: Any) -> list[Any]:
    if isinstance(value, InvalidCallbackData):
        return [False, value.callback_data]
    return [True, value]


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
    if chat is not None and before is not None and chat != str(before.id):
        update = Update.de_json(in_supergroup(content, before.id, int(chat)), bot)
    buttons = unpacked(stored.get(BUTTONS, []), bot)
    for carrier, (is_known, value) in zip(carriers(update), buttons, strict=False):
        give(carrier, value if is_known else InvalidCallbackData(value))
    return update


def in_supergroup(content: Any, old: int, new: int) -> Any:
    """Return part of an update in which a chat has another id."""
    if isinstance(content, list):
        return [in_supergroup(item, old, new) for item in content]
    if not isinstance(content, dict):
        return content
    moved = {name: in_supergroup(item, old, new) for name, item in content.items()}
    is_chat = content.get("id") == old and "type" in content
    return moved | {"id": new, "type": "supergroup"} if is_chat else moved


def carriers(update: Update) -> Iterator[Carrier]:
    """Yield what may hold objects that buttons stand for."""
    query, message = update.callback_query, update.effective_message
    if query is not None and query.data is not None:
        yield query
    if not isinstance(message, Message):
        return
    for one in (message, message.pinned_message, message.reply_to_message):
        if isinstance(one, Message) and one.reply_markup is not None:
            for row in one.reply_markup.inline_keyboard:
                yield from (button for button in row if button.callback_data is not None)


def value_of(carrier: Carrier) -> Any:
    return carrier.data if isinstance(carrier, CallbackQuery) else carrier.callback_data


def give(carrier: Carrier, value: Any) -> None:
    if isinstance(carrier, CallbackQuery):
        with carrier._unfrozen():
            carrier.data = value
    else:
        carrier.update_callback_data(value)
