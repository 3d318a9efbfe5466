"""What is not gone when it expires: something is to be done then, and that deletes it."""

from __future__ import annotations

from typing import Final

from django.db.models import Q

KEPT: Final = "ptb:"
"""What the names of fragments begin with that a persistence keeps."""
CONVERSATION: Final = f"{KEPT}conversation:"
"""What the names of conversations' fragments begin with; the handler's name follows."""
JOB: Final = "job:"
"""What the names of stored jobs' fragments begin with; the callback's name follows."""

PREFIXES: Final = (CONVERSATION, JOB)


def is_job(name: str) -> bool:
    """Whether a fragment of that name holds jobs."""
    return name.startswith(JOB)


def comes_due(name: str) -> bool:
    """Whether something is to be done when what is in a fragment of that name expires."""
    return name.startswith(PREFIXES)


def coming_due() -> Q:
    """Return the condition for the rows of which that holds."""
    return Q(name__startswith=CONVERSATION) | Q(name__startswith=JOB)
