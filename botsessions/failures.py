"""What went wrong in units of work, told to whoever keeps a record of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from .records import Address
from .sources import Source

logger = logging.getLogger(__name__)

Operation: TypeAlias = "Literal['load', 'save']"


class Failure(NamedTuple):
    """A session that could not be loaded, shown or saved."""

    address: Address
    """Its key is empty where none was found."""
    operation: Operation
    error: Exception
    source: Source
    """Of the unit of work."""


listeners: list[Callable[[Failure], None]] = []
"""Called with each failure, on an event loop or where sync code waits: they must not take long."""


def tell(failure: Failure) -> None:
    """Tell all listeners; one that raises harms nobody."""
    for listener in listeners:
        try:
            listener(failure)
        except Exception:
            logger.exception("A failure of session %s was not noted.", failure.address)
