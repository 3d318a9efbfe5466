"""From an update, or from ids, to a session key.

A key function takes an update and returns the session key, or ``None`` for "no session". It may be
``async``. If it can also be called without an update, with ids by name, its sessions can be reached
by these ids: in jobs (``chat``, ``user``) and from outside (``edit(user=5, chat=-9)``).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import quote

from telegram import Chat, Update, User

from .exceptions import SessionKeyError
from .storages.base import MAX_KEY_LENGTH, About

if TYPE_CHECKING:
    from telegram.ext import Job

KeyFunction: TypeAlias = "Callable[..., str | Awaitable[str | None] | None]"


def per_chat(
    update: Update | None = None, *, chat: int | None = None, business: str | None = None
) -> str | None:
    """A session per chat; in a business account's chats, per connection and chat.

    There the chat's id is the customer's own, and would give the session of the customer's private
    chat with the bot.

    Args:
        chat: the chat's id.
        business: the id of the business connection.
    """
    if update is not None:
        chat, business = chat_id(update), business_connection_id(update)
    return None if chat is None else joined(business, number(chat))


def per_user(update: Update | None = None, *, user: int | None = None) -> str | None:
    """A session per user, the same in all chats.

    Args:
        user: the user's id.
    """
    if update is not None:
        user = user_id(update)
    return None if user is None else joined(number(user))


def per_user_chat(
    update: Update | None = None,
    *,
    user: int | None = None,
    chat: int | None = None,
    business: str | None = None,
) -> str | None:
    """A session per user in each chat: ``"user/chat"``.

    Args:
        user: the user's id.
        chat: the chat's id.
        business: the id of the business connection.
    """
    if update is not None:
        user, chat, business = user_id(update), chat_id(update), business_connection_id(update)
    if user is None or chat is None:
        return None
    return joined(number(user), business, number(chat))


def per_topic(
    update: Update | None = None,
    *,
    chat: int | None = None,
    topic: int | None = None,
    business: str | None = None,
) -> str | None:
    """A session per forum topic: ``"chat/topic"``; where there are no topics, per chat.

    Args:
        chat: the chat's id.
        topic: the topic's ``message_thread_id``.
        business: the id of the business connection.
    """
    if update is not None:
        chat, business = chat_id(update), business_connection_id(update)
        topic = topic_id(update)
    return None if chat is None else joined(business, number(chat), topic and number(topic))


def chat_id(update: Update) -> int | None:
    return update.effective_chat.id if update.effective_chat else None


def user_id(update: Update) -> int | None:
    return update.effective_user.id if update.effective_user else None


def business_connection_id(update: Update) -> str | None:
    if deleted := update.deleted_business_messages:
        return deleted.business_connection_id
    return getattr(message_of(update), "business_connection_id", None)


def topic_id(update: Update) -> int | None:
    message = message_of(update)
    if getattr(message, "is_topic_message", None):
        return getattr(message, "message_thread_id", None)
    return None


def message_of(update: Update) -> Any:
    """Return the message that an update brings or, for a button, belongs to."""
    if update.callback_query:
        return update.callback_query.message
    return update.effective_message


def number(identifier: int) -> int:
    """Return an id. As text it would give the key of another session.

    Raises:
        SessionKeyError: it is no number.
    """
    if isinstance(identifier, int):
        return identifier
    raise SessionKeyError(f"Telegram's ids are numbers; {type(identifier).__name__} is none.")


def joined(*parts: int | str | None) -> str:
    """Join the parts that are not ``None``, so that different parts never give one key.

    Numbers stand for themselves; text is escaped such that it holds no ``/`` and is no number.
    """
    return "/".join(
        str(part) if isinstance(part, int) else escaped(part) for part in parts if part is not None
    )


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
    elif "\0" in key or any("\ud800" <= char <= "\udfff" for char in key):
        problem = "holds a NUL or a lone surrogate"
    else:
        return key
    raise SessionKeyError(
        f"The session key {problem}. Mend the key function, or quote() its parts."
    )


def takes_ids(function: KeyFunction) -> frozenset[str] | None:
    """Return the ids that a key function takes by name, ``None`` if it takes updates only."""
    try:
        first, *others = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    if first.default is inspect.Parameter.empty and first.kind is not first.VAR_POSITIONAL:
        return None
    names = [p.name for p in others if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return frozenset(names) or None


class Source(Protocol):
    """What a session is for: an update, a job, or ids from outside."""

    @property
    def subject(self) -> object:
        """The update or job itself."""

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        """Return the key that ``function`` gives."""

    def no_key(self, function: KeyFunction) -> str:
        """Return why it gives none."""

    def about(self, function: KeyFunction) -> About | None:
        """Return whom the session belongs to: those whose ids are part of the key."""

    def readable(self, function: KeyFunction) -> bool:
        """Whether a session without a key reads as ``None``."""


class FromUpdate:
    """An update. One that is not Telegram's has no session."""

    def __init__(self, update: object) -> None:
        self.subject = update

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        return function(self.subject) if is_update(self.subject) else None

    def no_key(self, function: KeyFunction) -> str:
        if not is_update(self.subject):
            return f"A {type(self.subject).__name__} has no session: only Telegram's updates have."
        missing = next((what for known, what in MISSING if known is function), None)
        if missing is None:
            return (
                f"There is no session here: the key function {name_of(function)} returned None "
                "for this update."
            )
        return (
            f"There is no session here: this update has no {missing}, so "
            f"keys.{name_of(function)} gives no key."
        )

    def about(self, function: KeyFunction) -> About | None:
        update: Any = self.subject
        chat, user = update.effective_chat, update.effective_user
        ids = takes_ids(function)
        if ids is None:  # Nobody can tell: the chat, and the user where there is no other.
            ids = frozenset(["chat"] if chat and chat.type != chat.PRIVATE else ["chat", "user"])
        return about(chat if "chat" in ids else None, user if "user" in ids else None)

    def readable(self, function: KeyFunction) -> bool:
        return True


class FromIds:
    """Ids by name, from outside."""

    subject = None

    def __init__(self, ids: Mapping[str, Any]) -> None:
        self.ids = ids

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        known = takes_ids(function)
        if known is None:
            raise SessionKeyError(f"{updates_only(function)} Or name the key itself.")
        if unknown := sorted(set(self.ids) - known):
            raise SessionKeyError(
                f"The key function {name_of(function)} knows no {', '.join(unknown)}; "
                f"it takes {', '.join(sorted(known))}."
            )
        return function(**self.ids)

    def no_key(self, function: KeyFunction) -> str:
        given = ", ".join(sorted(self.ids)) or "no ids"
        return f"The key function {name_of(function)} gives no key for {given}."

    def about(self, function: KeyFunction) -> About | None:
        return about_ids(self.ids)

    def readable(self, function: KeyFunction) -> bool:
        return False


class FromJob(FromIds):
    """A job; of its chat and user, those count that the key function takes."""

    def __init__(self, job: Job[Any]) -> None:
        self.subject: Any = job
        super().__init__({n: i for n, i in (("chat", job.chat_id), ("user", job.user_id)) if i})

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        ids = self._taken(function)
        return function(**ids) if ids else None

    def no_key(self, function: KeyFunction) -> str:
        if takes_ids(function) is None:
            return f"This job has no session. {updates_only(function)}"
        return f"This job has no session: {super().no_key(function)}"

    def about(self, function: KeyFunction) -> About | None:
        return about_ids(self._taken(function))

    def readable(self, function: KeyFunction) -> bool:
        return not self.ids

    def _taken(self, function: KeyFunction) -> dict[str, Any]:
        known = takes_ids(function) or frozenset()
        return {name: self.ids[name] for name in self.ids if name in known}


class FromKey:
    """A session key itself, from outside."""

    subject = None

    def __init__(self, key: str) -> None:
        self._key = key

    def key(self, function: KeyFunction) -> str:
        return self._key

    def no_key(self, function: KeyFunction) -> str:
        return "The session key is None."

    def about(self, function: KeyFunction) -> None:
        return None

    def readable(self, function: KeyFunction) -> bool:
        return False


MISSING = (
    (per_chat, "chat"),
    (per_user, "user"),
    (per_user_chat, "user or no chat"),
    (per_topic, "chat"),
)


def is_update(subject: object) -> bool:
    return isinstance(subject, Update)


def name_of(function: KeyFunction) -> str:
    return getattr(function, "__name__", type(function).__name__)


def updates_only(function: KeyFunction) -> str:
    return (
        f"The key function {name_of(function)} takes updates only: let it take ids, too, as in "
        "def key(update=None, *, chat=None)."
    )


def about(chat: Chat | None, user: User | None) -> About:
    names = [user.full_name if user else None]
    if chat and (chat.title or not user):
        names.append(chat.effective_name)
    return About(
        chat_id=chat.id if chat else None,
        user_id=user.id if user else None,
        chat_type=str(chat.type) if chat else None,
        title=", ".join(filter(None, names)) or None,
    )


def about_ids(ids: Mapping[str, Any]) -> About | None:
    """Return what ids tell about whom a session belongs to."""
    known = {f"{name}_id": ids[name] for name in ("chat", "user") if isinstance(ids.get(name), int)}
    return About(**known) if known else None
