"""What conversations are stored under: their names, or where the function that begins them is."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from telegram.ext import ConversationHandler

from ..due import CONVERSATION
from ..records import MAX_NAME_LENGTH

LONGEST: Final = MAX_NAME_LENGTH - len(CONVERSATION)
DIGEST_LENGTH = 8


def fragment_name(handler: ConversationHandler[Any], all_conversations: bool) -> str:
    """Return the name of the fragment that holds a conversation.

    Args:
        all_conversations: whether one without a name is kept, too.

    Raises:
        ImproperlyConfigured: it has none, or too long a one.
    """
    if handler.name and (handler.persistent or all_conversations):
        if len(handler.name) > LONGEST:
            raise ImproperlyConfigured(
                f"The name of the conversation {handler.name!r} is too long: it may have "
                f"{LONGEST} characters."
            )
        return f"{CONVERSATION}{handler.name}"
    if not all_conversations:
        raise ImproperlyConfigured(
            "A ConversationHandler within a persistent one needs persistent=True and a name, too. "
            "Or let the persistence keep all_conversations."
        )
    return f"{CONVERSATION}{shortened(beginning_of(handler))}"


def beginning_of(handler: ConversationHandler[Any]) -> str:
    """Return module and name of the callback of a conversation's first entry point.

    Others may be added after it, and all else of the conversation may change.
    """
    entry_points = (one for one in handler.entry_points if not isinstance(one, ConversationHandler))
    function: Any = getattr(next(entry_points, None), "callback", None)
    while isinstance(function, partial):
        function = function.func
    if function is None:
        raise ImproperlyConfigured(
            "A ConversationHandler without an entry point of its own needs a name to be kept: "
            "name=…."
        )
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def shortened(name: str) -> str:
    """Return a long name as its end, which says most, after a digest of the whole."""
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{digest}-{name[DIGEST_LENGTH + 1 - LONGEST :]}"
