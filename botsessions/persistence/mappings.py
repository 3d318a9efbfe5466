"""``context.user_data``, ``chat_data`` and ``bot_data``, as python-telegram-bot looks them up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..data import Data
from ..due import KEPT
from ..exceptions import SessionError
from ..unit import current


def data_here(name: str, key: str) -> Data[Any] | None:
    """Return a fragment's data under ``key`` in the unit of work that the running code belongs to.

    Error handlers may look at it when the update is over.

    Raises:
        Exception: the unit could not be loaded.
    """
    unit = current.get()
    while unit is not None:
        data = unit.contents.all.get(name)
        if data is not None and data.address is not None and data.address.key == key:
            if unit.error is not None:
                raise unit.error
            return data
        unit = unit.outer
    return None


class OpenData(Mapping[int, Any]):
    """The ``user_data`` or ``chat_data`` of the running update, by id. Nobody else's is in memory.

    Args:
        fragment: its name.
        what: ``"user"`` or ``"chat"``.
    """

    def __init__(self, fragment: str, what: str) -> None:
        self._fragment, self._what = fragment, what

    def __getitem__(self, identifier: int) -> Any:
        data = data_here(self._fragment, str(identifier))
        if data is None or not data.is_known:
            raise self._elsewhere(identifier)
        found = data.get()
        if found is None:  # It was dropped.
            data.assign(data.fragment.initial() if data.fragment.initial else None)
            found = data.get()
        return found

    def drop(self, identifier: int) -> bool:
        """Delete what the running update has; return whether it has it."""
        data = data_here(self._fragment, str(identifier))
        if data is not None:
            data.assign(None)
        return data is not None

    def __contains__(self, identifier: object) -> bool:
        if data_here(self._fragment, str(identifier)) is None:
            raise self._elsewhere(identifier)
        return True

    def __iter__(self) -> Iterator[int]:
        raise not_in_memory(self._fragment)

    def __len__(self) -> int:
        raise not_in_memory(self._fragment)

    def __repr__(self) -> str:
        return f"<{self._what}_data of the running update>"

    def _elsewhere(self, identifier: object) -> SessionError:
        return SessionError(
            f"This code does not run for {self._what} {identifier}, whose {self._what}_data is not "
            f"in memory. Use `async with context.application.persistence.edit_{self._what}_data(…) "
            "as data`."
        )


def not_in_memory(fragment: str) -> SessionError:
    """Return the error that somebody asks for the data of everybody."""
    return SessionError(
        f"The {fragment.removeprefix(KEPT)} of the whole bot is not in memory. Find it in the "
        f"database: BotSession.objects.filter(bot=…, name={fragment!r})."
    )
