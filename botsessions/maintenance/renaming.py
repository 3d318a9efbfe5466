"""Keeping stored sessions when a bot, a fragment or a key function changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import router
from django.db.models import Q

from ..exceptions import SessionKeyError
from ..incidents.writing import incidents
from ..keys import check_key
from ..models import AbstractBotSession, HandledUpdate
from ..storages import About
from .batches import Batch, Failure, unit_of_work
from .changing import address_of
from .declared import declared, is_kept_in
from .ids import Keying
from .readdressing import BATCH_SIZE, Move, Readdressing


@dataclass(frozen=True, kw_only=True)
class Readdress:
    """Base of work that gives sessions other addresses; see :class:`Readdressing`.

    Args:
        batch_size: how many sessions are moved together, and held meanwhile.
        dry_run: write nothing.
    """

    batch_size: int = BATCH_SIZE
    dry_run: bool = False

    def concerned(self) -> Q:
        """Return which rows to look at."""
        raise NotImplementedError

    def way(self, row: AbstractBotSession) -> Move | Failure | None:
        """Return a row's way, or why it has none; ``None`` if it has its address already."""
        raise NotImplementedError

    def count(self, model: type[AbstractBotSession], using: str) -> int:
        """Return how many sessions are looked at."""
        return self._readdressing(model, using).count()

    def run(
        self, model: type[AbstractBotSession], using: str, *, limit: int | None = None
    ) -> Iterator[Batch]:
        """Give sessions their new addresses; yield what each batch has done.

        Args:
            limit: to at most so many.
        """
        readdressing = self._readdressing(model, using)
        return readdressing.run(limit=limit, batch_size=self.batch_size, dry_run=self.dry_run)

    def _readdressing(self, model: type[AbstractBotSession], using: str) -> Readdressing:
        @cache
        def is_elsewhere(bot: str, name: str) -> bool:
            fragment = declared(bot, name)
            return fragment is not None and not is_kept_in(fragment, model, using)

        def checked(row: AbstractBotSession) -> Move | Failure | None:
            move = self.way(row)
            if isinstance(move, Move) and is_elsewhere(*move.target[:2]):
                return Failure(move.source, "Its bot looks for it in another table or storage.")
            return move

        return Readdressing(model, using, self.concerned(), checked)


@dataclass(frozen=True, kw_only=True)
class RenameBot(Readdress):
    """Gives the sessions of one alias to another."""

    old: str
    new: str

    def concerned(self) -> Q:
        return Q(bot=self.old)

    def way(self, row: AbstractBotSession) -> Move:
        address = address_of(row)
        return Move(address, address._replace(bot=self.new))


@dataclass(frozen=True, kw_only=True)
class RenameFragment(Readdress):
    """Gives the sessions of a bot's fragment to another; a single session has an empty name."""

    bot: str
    old: str
    new: str

    def concerned(self) -> Q:
        return Q(bot=self.bot, name=self.old)

    def way(self, row: AbstractBotSession) -> Move:
        address = address_of(row)
        return Move(address, address._replace(name=self.new))


@dataclass(frozen=True, kw_only=True)
class Rekey(Readdress):
    """Gives the sessions of a fragment the keys of another key function.

    The ids that a key was made of are found by the old function, which has to take ids.

    Args:
        old: the function that has made the keys.
        new: the one that is to make them.
    """

    bot: str
    name: str
    old: Keying
    new: Keying

    def concerned(self) -> Q:
        return Q(bot=self.bot, name=self.name)

    def way(self, row: AbstractBotSession) -> Move | Failure | None:
        address, whose = address_of(row), About(chat_id=row.chat_id, user_id=row.user_id)
        try:
            key, about = self._rekeyed(address.key, whose)
            if (key, about) == (address.key, whose):
                return None
            if self._rekeyed(key, about) != (key, about):
                return Failure(address, f"Its new key {key!r} cannot be told from old ones.")
        except SessionKeyError as exc:
            return Failure(address, str(exc))
        except Exception as exc:  # Of an author's function, whose text may show data.
            return Failure(address, f"{self.new} raised {type(exc).__name__} for it.")
        columns = {"chat_id": about.chat_id, "user_id": about.user_id}
        return Move(address, address._replace(key=key), columns)

    def _rekeyed(self, key: str, whose: About) -> tuple[str, About]:
        """Return the new key, and whom the session belongs to by that; the same for a new one.

        Raises:
            SessionKeyError: there is none.
        """
        known = {"chat": whose.chat_id, "user": whose.user_id}
        known = {name: number for name, number in known.items() if number is not None}
        ids, new_ids = self.old.ids(key, known), self.new.ids(key, known)
        # A key may look like one of both functions. Then it tells which whom it belongs to.
        is_new = new_ids is not None and (
            ids is None or self.new.about(new_ids) == whose != self.old.about(ids)
        )
        if is_new:
            return key, whose
        if ids is None:
            raise SessionKeyError(f"Its key is none that {self.old} gives.")
        new_key = self.new.key(ids)
        if new_key is None:
            raise SessionKeyError(f"{self.new} gives no key for its {' and '.join(ids)}.")
        about = self.new.about(ids)
        if whose.user_id != ids.get("user") and "user" not in (self.new.known or ()):
            # A customer in a channel's direct messages, who is no part of the key.
            about = About(chat_id=about.chat_id, user_id=whose.user_id)
        return check_key(new_key), about


def is_remembered(bot: str) -> bool:
    """Whether anything but sessions is stored of a bot: what its webhook has handled, incidents."""
    handled = HandledUpdate._default_manager.using(router.db_for_write(HandledUpdate))
    return any(rows.filter(bot=bot).exists() for rows in (handled, incidents()))


def rename_handled(old: str, new: str) -> None:
    """Give the notes of what a bot's webhook has handled to another alias."""
    using = router.db_for_write(HandledUpdate)
    notes = HandledUpdate._default_manager.using(using)
    last = -1
    while some := unit_of_work(using, next_handled, notes.filter(bot=old), last):
        last = some[-1]
        unit_of_work(using, give_handled, notes, some, old, new)


def next_handled(notes: Any, last: int) -> list[int]:
    later = notes.filter(update_id__gt=last).order_by("update_id")
    return list(later.values_list("update_id", flat=True)[:BATCH_SIZE])


def give_handled(notes: Any, update_ids: list[int], old: str, new: str) -> None:
    noted = notes.filter(bot=new, update_id__in=update_ids)
    others = set(update_ids).difference(noted.values_list("update_id", flat=True))
    notes.filter(bot=old, update_id__in=others).update(bot=new)
