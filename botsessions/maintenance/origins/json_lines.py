"""Lines of JSON, as exports write them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...exceptions import SessionDataError
from ...masking import masked_fields, unmask
from ...storages import About
from ..batches import Failure
from .found import NO_JSON, Found, OriginError, Place

STDIN = "-"
PIECE = 1024 * 1024


class Line(msgspec.Struct):
    """A line as :func:`~botsessions.maintenance.exporting.line` makes it."""

    bot: str
    fragment: str
    key: str
    data: msgspec.Raw
    chat_id: int | None = None
    user_id: int | None = None
    chat_type: str = ""
    title: str = ""
    version: Decimal | None = None
    created: datetime | None = None
    changed: datetime | None = None
    expires: datetime | None = None

    @property
    def about(self) -> About:
        kind, title = self.chat_type or None, self.title or None
        return About(self.chat_id, self.user_id, kind, title)


LINE = msgspec.json.Decoder(Line)
DATA = msgspec.json.Decoder()


class JsonLines:
    """A file of exported sessions, each with its bot and fragment.

    Args:
        path: of the file; ``-`` is the standard input.
        bot: only of this alias.
        name: only of this fragment.

    Raises:
        OriginError: the file cannot be read.
    """

    def __init__(self, path: str, *, bot: str | None = None, name: str | None = None) -> None:
        self._path = path
        self._bot, self._name = bot, name
        with self._opened():
            pass

    def __str__(self) -> str:
        return "standard input" if self._path == STDIN else self._path

    def count(self) -> int:
        if self._path == STDIN:
            return 0
        with self._opened() as file:
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(PIECE), b""))

    def __iter__(self) -> Iterator[Found | Failure]:
        with self._opened() as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found = found_in(line, f"in line {number}")
                    if isinstance(found, Failure) or self._wants(found.place):
                        yield found

    def left_out(self) -> list[str]:
        return []

    def _wants(self, place: Place) -> bool:
        return self._bot in (None, place.bot) and self._name in (None, place.name)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self._path == STDIN:
            yield sys.stdin.buffer
            return
        try:
            file = Path(self._path).open("rb")  # noqa: SIM115 (closed below)
        except OSError as exc:
            raise OriginError(f"{self._path} cannot be read: {exc.strerror}.") from exc
        with file:
            yield file


def found_in(line: bytes, where: str) -> Found | Failure:
    try:
        session = LINE.decode(line)
        data = DATA.decode(session.data)
        created_at, changed_at = aware(session.created), aware(session.changed)
        expires_at = aware(session.expires)
    except msgspec.ValidationError:  # Its text may show a value.
        return Failure(where, "It is no session as export_sessions writes them.")
    except (ValueError, RecursionError):
        return Failure(where, NO_JSON)
    try:
        unmask(data, None, masked_fields())
    except SessionDataError as exc:
        return Failure(where, f"{exc} Import what export_sessions writes: it masks nothing.")
    return Found(
        where,
        Place(session.bot, session.fragment),
        data,
        session.key,
        version=session.version,
        expires_at=expires_at,
        is_stored=True,
        about=session.about,
        created_at=created_at,
        changed_at=changed_at,
    )


def aware(moment: datetime | None) -> datetime | None:
    """Return a moment.

    Raises:
        ValidationError: it does not say in which time zone.
    """
    if moment is not None and moment.tzinfo is None:
        raise msgspec.ValidationError("There is no time zone.")
    return moment
