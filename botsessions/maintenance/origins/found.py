"""What is found where sessions come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from ...storages import About
from ..batches import Failure

NO_JSON = "It is no JSON that Python can read."


class Place(NamedTuple):
    """The fragment of a bot that sessions are to move into."""

    bot: str
    name: str


@dataclass(frozen=True)
class Found:
    """A session as another store has it. It has a key, or the ids that its key is made of."""

    where: str
    """For people, to be read after the word session: ``in line 7``. No data."""
    place: Place
    data: Any
    """JSON, or Python data; ``None`` where there is none."""
    key: str | None = None
    ids: Mapping[str, int] = field(default_factory=dict)
    version: Decimal | None = None
    expires_at: datetime | None = None
    is_stored: bool = False
    """Whether data is JSON as this app stores it."""
    about: About | None = None
    """Whom it belongs to. Without that the key or the ids have to tell."""
    created_at: datetime | None = None
    changed_at: datetime | None = None
    """When it was changed last; only of one that is known to be changed later than what is stored
    here may that be replaced."""


class Origin(Protocol):
    """A store of somebody else's. What is wrong with it as a whole is an :class:`OriginError`."""

    def count(self) -> int:
        """Return how many there are, 0 if that cannot be known."""

    def __iter__(self) -> Iterator[Found | Failure]:
        """Go through all of them, little by little."""

    def left_out(self) -> list[str]:
        """Return what else there is that is not imported, for people."""


class OriginError(Exception):
    """The store is not there, or is not what it was said to be."""
