"""Reading the data of stored sessions, whatever somebody has stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Case, QuerySet, TextField, When
from django.db.models.functions import Cast

from .models import AbstractBotSession
from .records import DECODER, ENCODER, stored_value
from .records import UNREADABLE as UNREADABLE

if TYPE_CHECKING:
    from .declaration import Fragment

READABLE_DEPTH = 200
UNKNOWN: Any = object()
"""In place of data that was not loaded."""


def with_text(sessions: QuerySet[Any], most_bytes: int | None = None) -> QuerySet[Any]:
    """Have sessions, or what they were, loaded with their data as text, whatever it is.

    Args:
        most_bytes: without the data of larger ones.
    """
    text: Any = as_text()
    if most_bytes is not None:
        text = Case(When(size__lte=most_bytes, then=text), output_field=TextField())
    loaded: QuerySet[Any] = sessions.defer("data").annotate(data_as_text=text)
    return loaded


def as_text() -> Cast:
    """Return the column of the data as text."""
    return Cast("data", TextField())


def text_of(session: AbstractBotSession) -> str:
    """Return the data of a session :func:`with_text`, as it is stored."""
    return str(session.data_as_text)  # type: ignore[attr-defined]


def data_of(session: AbstractBotSession) -> Any:
    """Return the data of a session :func:`with_text`.

    That is ``UNREADABLE`` if Python cannot read it, ``UNKNOWN`` if it was not loaded.
    """
    if getattr(session, "data_as_text", None) is None:
        return UNKNOWN
    return value_of(text_of(session))


def value_of(text: str) -> Any:
    """Return stored data; ``UNREADABLE`` if Python cannot read it."""
    value = stored_value(text)
    return value if value is not UNREADABLE and is_shallow(value, text) else UNREADABLE


def is_readable(text: str, fragment: Fragment[Any]) -> bool:
    """Whether a bot can read stored data of the newest version that its fragment has."""
    value = value_of(text)
    try:
        fragment.codec.decode(value)
    except Exception:  # Also one of the author's own type.
        return False
    return value is not UNREADABLE


def json_of(session: AbstractBotSession) -> Any:
    """Return the same, also ``UNREADABLE`` if no JSON can be made of it for others to read."""
    return strictly(data_of(session))


def strictly(value: Any) -> Any:
    """Return data; ``UNREADABLE`` if no JSON can be made of it for others to read."""
    try:
        return value if DECODER.decode(ENCODER.encode(value)) == value else UNREADABLE
    except (TypeError, ValueError):  # A lone surrogate, say.
        return UNREADABLE


def is_shallow(value: Any, text: str) -> bool:
    """Whether Python can walk through all of some JSON: it is not nested too deeply for that."""
    if text.count("[") + text.count("{") <= READABLE_DEPTH:
        return True
    level = [value]
    for _level in range(READABLE_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return False
