"""What python-telegram-bot's persistences keep: its pickles, and tables of Django."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync

from ...due import CONVERSATION
from ...keys import joined
from ...ptb.pickles import unpickled
from ...records import loads
from ...storages import About
from ..batches import Failure
from .found import NO_JSON, Found, OriginError, Place
from .sql import ForeignTable

TABLES = "python_telegram_bot_django_persistence_"

ENDED = (None, -1)
"""States in which a file may hold conversations that are over; ``END`` is -1."""


class Kind(NamedTuple):
    """A kind of python-telegram-bot's data."""

    id: str | None
    """Whose data it is; ``None``: the whole bot's; empty: the conversation's."""
    table: str
    """Of python-telegram-bot-django-persistence; empty if it is not imported from there."""


KINDS: Mapping[str, Kind] = {
    "chat_data": Kind("chat", "chatdata"),
    "user_data": Kind("user", "userdata"),
    "bot_data": Kind(None, "botdata"),
    "conversations": Kind("", ""),
}
"""Those that can be imported."""


@dataclass(frozen=True)
class Way:
    """Where data of one kind goes.

    Args:
        data: the name of the kind.
        key: the session key of the whole bot's data; that of a chat's or user's is made of its id.
    """

    data: str
    place: Place
    key: str | None = None

    def found(self, identifier: Any, value: Any) -> Found:
        kind = KINDS[self.data]
        if kind.id == "":
            name, key = identifier
            return self._conversation(name, key, value)
        where = self.where(identifier)
        # python-telegram-bot keeps an empty one of everybody whom it has heard of.
        data = None if value == {} else value
        if kind.id is None:
            return Found(where, self.place, data, self.key, about=About())
        return Found(where, self.place, data, ids={kind.id: identifier})

    def where(self, identifier: Any) -> str:
        is_bots = KINDS[self.data].id is None
        return f"in {self.data}" if is_bots else f"in {self.data}[{identifier}]"

    def _conversation(self, name: str, key: tuple[Any, ...], state: object) -> Found:
        place = self.place._replace(name=f"{CONVERSATION}{name}")
        data = None if state in ENDED else {"state": state}
        return Found(f"in conversations[{name!r}]", place, data, joined(*key))


class Pickle:
    """A ``PicklePersistence``'s file, or several of a split one. Whoever made it runs code here.

    Raises:
        OriginError: there is none, or it cannot be read.
    """

    def __init__(self, path: str, way: Way) -> None:
        self._path, self._way = path, way
        try:
            kinds = dict(async_to_sync(unpickled)(Path(path)))
        except FileNotFoundError as exc:
            raise OriginError(str(exc)) from exc
        except TypeError as exc:
            raise OriginError(f"{path} cannot be read: {exc}{cause(exc)}.") from exc
        found = kinds.pop(way.data)
        self._found: Mapping[Any, Any] = found
        if KINDS[way.data].id is None:
            self._found = {None: found}
        elif not KINDS[way.data].id:
            self._found = {
                (name, k): state for name, some in found.items() for k, state in some.items()
            }
        self._others = [kind for kind, found in kinds.items() if found]

    def __str__(self) -> str:
        return self._path

    def count(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Found | Failure]:
        for identifier, value in self._found.items():
            yield self._way.found(identifier, value)

    def left_out(self) -> list[str]:
        return self._others


class DjangoPersistence:
    """The tables of python-telegram-bot-django-persistence, which need not be installed any more.

    Raises:
        OriginError: they are not there.
    """

    def __init__(self, using: str, namespace: str, way: Way) -> None:
        self._way = way
        id_, table = KINDS[way.data]
        if not table:
            raise OriginError(f"{way.data} are not imported from these tables.")
        columns = ["id", "data", *([f"{id_}_id"] if id_ else [])]
        self._name = f"{TABLES}{table}"
        self._rows = ForeignTable(using, self._name, columns, {"namespace": namespace})

    def __str__(self) -> str:
        return self._name

    def count(self) -> int:
        return self._rows.count()

    def __iter__(self) -> Iterator[Found | Failure]:
        for _, text, *ids in self._rows:
            identifier = ids[0] if ids else None
            try:
                value = loads(text)
            except ValueError:
                yield Failure(self._way.where(identifier), NO_JSON)
            else:
                yield self._way.found(identifier, value)

    def left_out(self) -> list[str]:
        return []


def cause(error: BaseException) -> str:
    """Return what went wrong, as far as it tells no data."""
    inner = error.__cause__
    if isinstance(inner, (ImportError, AttributeError)):
        return f": {inner}"
    return "" if inner is None else f" ({type(inner).__name__})"
