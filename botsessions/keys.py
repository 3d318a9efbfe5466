"""From an update, or from ids, to a session key.

A key function takes an update and returns the session key, or ``None`` for "no session". It may be
``async``. If it can also be called without an update, with ids by name, its sessions can be reached
by these ids: in jobs (``chat``, ``user``) and from outside (``edit(user=5, chat=-9)``).
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote

from telegram import Update

from . import updates
from .exceptions import SessionKeyError
from .records import MAX_ID, MAX_KEY_LENGTH

KeyFunction: TypeAlias = "Callable[..., str | Awaitable[str | None] | None]"


def per_chat(
    update: Update | None = None,
    *,
    chat: int | None = None,
    business: str | None = None,
    direct_topic: int | None = None,
) -> str | None:
    """A session per chat.

    In a business account's chats there is one per connection and chat, because there the chat's id
    is the customer's own; in a channel's direct messages, one per customer.

    Args:
        chat: the chat's id.
        business: the id of the business connection.
        direct_topic: the id of the customer's topic in a channel's direct messages.
    """
    if update is None:
        check_ids(chat=chat, business=business, direct_topic=direct_topic)
    else:
        check_update(update)
        if (here := updates.place(update)) is None:
            return None
        chat, business, direct_topic = here
    return None if chat is None else joined(business, chat, direct_topic)


def per_user(update: Update | None = None, *, user: int | None = None) -> str | None:
    """A session per user, the same in all chats. Who writes as a channel is that channel.

    Args:
        user: the user's id.
    """
    if update is None:
        check_ids(user=user)
    else:
        check_update(update)
        user = user_id(update)
    return None if user is None else joined(user)


def per_user_chat(
    update: Update | None = None,
    *,
    user: int | None = None,
    chat: int | None = None,
    business: str | None = None,
    direct_topic: int | None = None,
) -> str | None:
    """A session per user in each chat: ``"user/chat"``.

    Args:
        user: the user's id.

    See :func:`per_chat` for the others.
    """
    if update is None:
        check_ids(user=user, chat=chat, business=business, direct_topic=direct_topic)
    else:
        check_update(update)
        if (here := updates.place(update)) is None:
            return None
        user, (chat, business, direct_topic) = user_id(update), here
    if user is None or chat is None:
        return None
    return joined(user, business, chat, direct_topic)


def per_topic(
    update: Update | None = None,
    *,
    chat: int | None = None,
    topic: int | None = None,
    business: str | None = None,
) -> str | None:
    """A session per topic: ``"chat/topic"``; where there are no topics, per chat.

    Args:
        chat: the chat's id.
        topic: the ``message_thread_id`` of a forum's topic, or the id of a customer's topic in a
            channel's direct messages.
        business: the id of the business connection.
    """
    if update is None:
        check_ids(chat=chat, topic=topic, business=business)
    else:
        check_update(update)
        here = updates.place(update)
        if here is None or updates.hides_forum_topic(update):
            return None
        chat, business, topic = here
        topic = updates.forum_topic(update) if topic is None else topic
    return None if chat is None else joined(business, chat, topic)


def user_id(update: Update) -> int | None:
    sender = updates.sender(update)
    return None if sender is None else sender.id


def migration(update: object) -> tuple[int, int] | None:
    """Return the old and the new id of the chat if a group has become a supergroup."""
    message = update.message if isinstance(update, Update) else None
    if message is None:
        return None
    if message.migrate_to_chat_id is not None:
        return message.chat.id, message.migrate_to_chat_id
    if message.migrate_from_chat_id is not None:
        return message.migrate_from_chat_id, message.chat.id
    return None


async def in_other_chat(
    function: KeyFunction | None, key: str, ids: Mapping[str, int], chat: int
) -> str | None:
    """Return what ``key`` becomes in ``chat``; ``None`` if it says nothing of the present chat.

    Args:
        function: the key function, if it is known; it is asked where the key does not show the
            chat's id.
        ids: the present ``chat``, and the ``user`` if there is one.
    """
    if shows_chat(key, ids["chat"]):
        return check_key(in_text(ids["chat"]).sub(str(chat), key))
    known = takes_ids(function) if function else None
    ids = {name: ids[name] for name in ids if name in (known or ())}
    if function is None or "chat" not in ids or await key_of(function, ids) != key:
        return None
    other = await key_of(function, {**ids, "chat": chat})
    return other if other is None or other == key else check_key(other)


def shows_chat(key: str, chat: int) -> bool:
    """Whether the id of ``chat`` is a part of ``key``."""
    return in_text(chat).search(key) is not None


def in_text(number: int) -> re.Pattern[str]:
    """Return where ``number`` stands for itself: not in a larger one, nor after a letter."""
    return re.compile(rf"(?<![^\W_]){number}(?![^\W_])")


def no_key(update: object) -> None:
    """Return the key of an update where updates do not tell it."""


async def key_of(function: KeyFunction, ids: Mapping[str, int]) -> str | None:
    key = function(**ids)
    return await key if inspect.isawaitable(key) else key


def check_ids(**ids: object) -> None:
    """Raise SessionKeyError for a number given as text, which would be another key, or vice versa,
    and for numbers that no database stores.

    Of Telegram's ids only that of a business connection is text.
    """
    for name, identifier in ids.items():
        kind, example = (str, "'abc'") if name == "business" else (int, "42")
        fits = isinstance(identifier, kind) and not isinstance(identifier, bool)
        is_too_large = isinstance(identifier, int) and abs(identifier) > MAX_ID
        if identifier is None or (fits and not is_too_large):
            continue
        if fits:
            raise SessionKeyError(f"{name}={identifier} is no id of Telegram's: it is too large.")
        what = "are numbers" if kind is int else "of business connections are text"
        raise SessionKeyError(
            f"Telegram's ids {what}: write {name}={example}, not {type(identifier).__name__}."
        )


def check_update(update: object) -> None:
    """Raise TypeError for what is no update: an id, a context, or Telegram's JSON."""
    if not hasattr(update, "effective_chat"):
        raise TypeError(
            f"A key function takes an update, not {type(update).__name__}, or ids by name, like "
            "per_chat(chat=42)."
        )


def joined(*parts: int | str | None) -> str:
    """Join the parts that are not ``None``, so that different parts never give one key.

    Numbers stand for themselves; text is escaped such that it holds no ``/`` and is no number.
    """
    texts = [
        str(part) if isinstance(part, int) else escaped(part) for part in parts if part is not None
    ]
    return "/".join(texts)


def escaped(part: str) -> str:
    text = quote(part, safe="") or "%"
    if text[0] in "-0123456789":
        return f"%{ord(text[0]):02X}{text[1:]}"
    return text


def check_key(key: object) -> str:
    """Return ``key`` if every database keeps it apart from all others.

    Raises:
        SessionKeyError: it is not.
    """
    if not isinstance(key, str):
        problem = f"is {type(key).__name__}; it must be str or None"
    elif not key:
        problem = "is empty"
    elif len(key) > MAX_KEY_LENGTH:
        problem = f"has {len(key)} characters; it may have {MAX_KEY_LENGTH}"
    elif key != key.strip():
        problem = "begins or ends with a blank"
    elif "\0" in key or (not key.isascii() and any("\ud800" <= char <= "\udfff" for char in key)):
        problem = "holds a NUL or a lone surrogate"
    else:
        return key
    raise SessionKeyError(
        f"The session key {problem}. Mend the key function, or quote() its parts."
    )


def takes_ids(function: KeyFunction) -> frozenset[str] | None:
    """Return the ids that a key function takes by name, ``None`` if it takes updates only."""
    try:
        return known_ids(function)
    except TypeError:  # An object that cannot be hashed can be a key function, too.
        return known_ids.__wrapped__(function)


@lru_cache(maxsize=64)
def known_ids(function: KeyFunction) -> frozenset[str] | None:
    try:
        first, *others = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    if first.default is inspect.Parameter.empty and first.kind is not first.VAR_POSITIONAL:
        return None
    names = [p.name for p in others if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return frozenset(names) or None


def ignores_update(function: KeyFunction) -> bool:
    """Whether a key function gives a key, but does not look at the update for it."""
    function = inspect.unwrap(function)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    first = int(inspect.ismethod(function))
    if code is None or code.co_argcount <= first:
        return False
    gives_key = code.co_names or code.co_freevars or {*code.co_consts} - {None, function.__doc__}
    update = code.co_varnames[first]
    looks = any(update in names_in(step.argval) for step in dis.get_instructions(code))
    return bool(gives_key) and not looks and update not in code.co_cellvars


def names_in(argument: object) -> tuple[object, ...]:
    # Newer Pythons load two variables by one instruction.
    return argument if isinstance(argument, tuple) else (argument,)


def is_update(subject: object) -> bool:
    return isinstance(subject, Update)
