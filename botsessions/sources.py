"""What a session is for: an update, a job, or ids from outside, and the key that it gets."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from . import updates
from .codec import UNSTORABLE_TEXT
from .exceptions import SessionKeyError
from .keys import KeyFunction, is_update, per_chat, per_topic, per_user, per_user_chat, takes_ids
from .records import MAX_BY_LENGTH, About


class Source(Protocol):
    """What a session is for: an update, a job, or ids from outside."""

    @property
    def subject(self) -> object:
        """The update or job itself."""

    @property
    def by(self) -> str:
        """Who works with the session: ``update:`` and its id, ``job:`` and its name, or nobody.

        It can be stored anywhere, so of a long name it is the beginning.
        """

    @property
    def ids(self) -> Mapping[str, Any]:
        """Those of ``chat`` and ``user`` as far as they are known, and what tells chats of one id
        apart, by the names that key functions have for it.
        """

    @property
    def chat_id(self) -> object:
        """That of the chat, if it is known."""

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        """Return the key that ``function`` gives."""

    def no_key(self, function: KeyFunction) -> str:
        """Return why it gives none."""

    def about(self, function: KeyFunction) -> About | None:
        """Return whom the session belongs to: those whose ids are part of the key."""

    def readable(self, function: KeyFunction) -> bool:
        """Whether a session without a key reads as ``None``."""


class FromUpdate:
    """An update. One that is not Telegram's has no session, unless its context has ids."""

    def __init__(self, update: Any) -> None:
        self.subject = update

    @property
    def by(self) -> str:
        update_id = getattr(self.subject, "update_id", None)
        return "" if update_id is None else f"update:{update_id}"

    @property
    def ids(self) -> Mapping[str, Any]:
        if not is_update(self.subject):
            return {}
        here, sender = updates.place(self.subject), updates.sender(self.subject)
        ids = {} if here is None else here.ids
        return ids if sender is None else {**ids, "user": sender.id}

    @property
    def chat_id(self) -> object:
        chat = self.subject.effective_chat if is_update(self.subject) else None
        return chat and chat.id

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        return function(self.subject) if is_update(self.subject) else None

    def no_key(self, function: KeyFunction) -> str:
        if not is_update(self.subject):
            return (
                f"A {type(self.subject).__name__} has no session: only Telegram's updates have, "
                "and those whose context is made with user_id=… or chat_id=…."
            )
        needs = next((needs for known, needs in NEEDS if known is function), None)
        if needs is None:
            return (
                f"There is no session here: the key function {name_of(function)} returned None "
                "for this update."
            )
        missing = [n for n in needs if getattr(self.subject, f"effective_{n}") is None]
        if not missing:
            return (
                "There is no session here: Telegram does not show exactly which chat, topic or "
                f"person this update is from, so keys.{name_of(function)} gives no key."
            )
        return (
            f"There is no session here: this update has no {' and no '.join(missing)}, so "
            f"keys.{name_of(function)} gives no key."
        )

    def about(self, function: KeyFunction) -> About | None:
        chat, ids = self.subject.effective_chat, takes_ids(function)
        if ids is None:  # Nobody can tell: the chat, and the user where there is no other.
            ids = frozenset(["chat"] if chat and chat.type != chat.PRIVATE else ["chat", "user"])
        user = (updates.sender if "user" in ids else updates.customer)(self.subject)
        return about(chat if "chat" in ids else None, user)

    def readable(self, function: KeyFunction) -> bool:
        return True


class FromMigration(FromUpdate):
    """The service message that a group is a supergroup now. What it writes is the supergroup's."""

    def __init__(self, update: Any, chat_id: int) -> None:
        super().__init__(update)
        self._chat_id = chat_id

    @property
    def ids(self) -> Mapping[str, Any]:
        return {**super().ids, "chat": self._chat_id}

    def about(self, function: KeyFunction) -> About | None:
        about = super().about(function)
        if about is None or about.chat_id is None:
            return about
        return supergroup(self._chat_id).over(about)


class FromIds:
    """Ids by name, from outside."""

    subject: Any = None
    by = ""

    def __init__(self, ids: Mapping[str, Any]) -> None:
        self.ids = ids
        self.chat_id = ids.get("chat")

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        known = takes_ids(function)
        if known is None:
            raise SessionKeyError(f"{updates_only(function)} Or name the key itself.")
        if unknown := sorted(set(self.ids) - known):
            raise SessionKeyError(
                f"The key function {name_of(function)} knows no {', '.join(unknown)}; "
                f"it takes {', '.join(sorted(known))}. "
                "A key itself goes without a name: edit('42')."
            )
        return function(**self.ids)

    def no_key(self, function: KeyFunction) -> str:
        given = ", ".join(n if self.ids[n] is not None else f"{n}=None" for n in sorted(self.ids))
        return f"The key function {name_of(function)} gives no key for {given or 'no ids'}."

    def about(self, function: KeyFunction) -> About | None:
        return about_ids(self.ids)

    def readable(self, function: KeyFunction) -> bool:
        return False


class FromKnownIds(FromIds):
    """Ids of which those count that the key function takes."""

    def key(self, function: KeyFunction) -> Awaitable[str | None] | str | None:
        ids = self._taken(function)
        return function(**ids) if ids else None

    def about(self, function: KeyFunction) -> About | None:
        return about_ids(self._taken(function))

    def _taken(self, function: KeyFunction) -> dict[str, Any]:
        known = takes_ids(function) or frozenset()
        return {name: self.ids[name] for name in self.ids if name in known}


class FromOther(FromKnownIds):
    """An update of the bot's own, not Telegram's, with the chat and user of its context."""

    def __init__(self, update: Any, ids: Mapping[str, Any]) -> None:
        self.subject = update
        super().__init__({name: i for name, i in ids.items() if i is not None})

    def readable(self, function: KeyFunction) -> bool:
        return True


class FromJob(FromKnownIds):
    """A job, with its chat and user; a stored one also knows what tells chats of one id apart."""

    def __init__(self, job: Any) -> None:
        self.subject = job
        ids = getattr(job, "ids", {"chat": job.chat_id, "user": job.user_id})
        super().__init__({name: identifier for name, identifier in ids.items() if identifier})
        self.by = storable(f"job:{job.name}")[:MAX_BY_LENGTH]

    def no_key(self, function: KeyFunction) -> str:
        if takes_ids(function) is None:
            return f"This job has no session. {updates_only(function)}"
        return f"This job has no session: {super().no_key(function)}"

    def readable(self, function: KeyFunction) -> bool:
        return not self.ids


class FromKey:
    """A session key itself, from outside."""

    subject = chat_id = None
    by = ""
    ids: Mapping[str, Any] = {}

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


NEEDS = (
    (per_chat, ["chat"]),
    (per_user, ["user"]),
    (per_user_chat, ["user", "chat"]),
    (per_topic, ["chat"]),
)
"""What an update must have for a key function of ours to give a key."""


def name_of(function: KeyFunction) -> str:
    return getattr(function, "__name__", type(function).__name__)


def updates_only(function: KeyFunction) -> str:
    return (
        f"The key function {name_of(function)} takes updates only: let it take ids, too, as in "
        "def key(update=None, *, chat=None)."
    )


def about(chat: Any, user: Any) -> About:
    names = [(getattr(user, "title", None) or user.full_name) if user else None]
    if chat and (chat.title or not user):
        names.append(chat.effective_name)
    return About(
        chat_id=chat.id if chat else None,
        user_id=user.id if user else None,
        chat_type=str.__str__(chat.type) if chat else None,  # Of which PTB makes an enum.
        title=storable(", ".join(filter(None, names))) or None,
    )


def storable(text: str) -> str:
    """Return text that every database can store."""
    return text if text.isascii() and "\0" not in text else UNSTORABLE_TEXT.sub("?", text)


def supergroup(chat_id: int) -> About:
    """Return what is known of a supergroup that has been a group."""
    return About(chat_id=chat_id, chat_type="supergroup")


def about_ids(ids: Mapping[str, Any]) -> About | None:
    """Return what ids tell about whom a session belongs to."""
    known = {f"{name}_id": ids[name] for name in ("chat", "user") if isinstance(ids.get(name), int)}
    return About(**known) if known else None


def source(key: str | None, ids: Mapping[str, Any]) -> Source:
    """Return the source of a key, or of ids.

    Raises:
        SessionKeyError: the key is no text.
        TypeError: both are given, or none.
    """
    if (key is None) == (not ids):
        raise TypeError(f"Which session? {BY_KEY_OR_IDS}.")
    if key is None:
        return FromIds(ids)
    if not isinstance(key, str):
        raise SessionKeyError(f"A session key is text, not {type(key).__name__}. {BY_KEY_OR_IDS}.")
    return FromKey(key)


BY_KEY_OR_IDS = "Name it by its key or by ids, like edit('42') or edit(chat=42)"
