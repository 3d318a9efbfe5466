"""Bringing stored sessions to the newest version in bulk, as the bot does one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.db.models import Q, QuerySet

from ..causes import told
from ..codec import refuse_longer
from ..conf import max_bytes
from ..database.changes import Change
from ..database.sessions_table import Table
from ..declaration import Fragment
from ..exceptions import SessionDataError, SessionMigrationError, SessionVersionError
from ..finding import any_of, fragments
from ..history import kept
from ..models import AbstractBotSession
from ..reading import UNREADABLE, as_text, value_of
from ..records import ENCODER, new_revision
from ..storages import Address, Record
from ..storages.layers import migrated
from ..storages.migrations import refuse_newer
from .batches import BATCH_SIZE, Batch, Failure, check_choice, unit_of_work, with_keys
from .declared import is_kept_in
from .versions import all_sessions, exact, live

Fragments: TypeAlias = "Mapping[tuple[str, str], Fragment[Any]]"
"""By bot and name."""
Rows: TypeAlias = "Sequence[tuple[Any, Address, Record]]"
Changes: TypeAlias = "dict[Any, Change]"
"""By primary key."""


@dataclass(frozen=True)
class Migrate:
    """Brings stored sessions to the newest version, by the functions that the bot has for it.

    It is no change by a user: when a session was changed and when it expires stay as they are. One
    that the bot changes at the same moment is left to the bot, which has migrated it.

    Bots that cannot be imported are left out.

    Args:
        bot: only of this alias.
        name: only of this fragment.
        batch_size: how many sessions are in memory at a time.
        dry_run: run the functions, and write nothing.
    """

    bot: str | None = None
    name: str | None = None
    batch_size: int = BATCH_SIZE
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_choice(self.bot, self.name, self.batch_size)

    def count(self, model: type[AbstractBotSession], using: str) -> int:
        """Return how many sessions are of an older version now."""
        return self.older(all_sessions(model, using)).count()

    def older(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of a table's sessions that are of an older version now."""
        older = (
            Q(bot=bot, name=name) & (Q(version=None) | Q(version__lt=fragment.newest_version))
            for (bot, name), fragment in self._fragments(sessions.model, sessions.db).items()
            if fragment.newest_version is not None
        )
        found: QuerySet[Any] = live(sessions).filter(any_of(older))
        return found

    def run(
        self,
        model: type[AbstractBotSession],
        using: str,
        *,
        limit: int | None = None,
        among: QuerySet[Any] | None = None,
    ) -> Iterator[Batch]:
        """Migrate what is of an older version; yield what each batch has done.

        Args:
            limit: migrate at most so many.
            among: only of these sessions.
        """
        table, fragments = Table(model, using), self._fragments(model, using)
        sessions = all_sessions(model, using) if among is None else among.using(using)
        last = None
        while limit is None or limit > 0:
            size = self.batch_size if limit is None else min(limit, self.batch_size)
            rows = unit_of_work(using, rows_after, last, size, sessions, fragments)
            if not rows:
                return
            last = rows[-1][0]
            changes, failures = async_to_sync(migrate_all)(rows, fragments)
            done = len(changes) if self.dry_run else unit_of_work(using, store, changes, table)
            limit = None if limit is None else limit - done
            yield Batch(done, tuple(failures))

    def _fragments(self, model: type[AbstractBotSession], using: str) -> Fragments:
        return {
            (bot, fragment.name): fragment
            for bot, fragment in fragments()
            if self.bot in (None, bot) and self.name in (None, fragment.name)
            if is_kept_in(fragment, model, using)
        }


def rows_after(last: Any, size: int, sessions: Any, fragments: Fragments) -> Rows:
    """Return the next sessions, by primary key, whose version is not the code's."""
    others = (
        Q(bot=bot, name=name) & ~Q(version=fragment.newest_version)
        for (bot, name), fragment in fragments.items()
    )
    sessions = live(sessions).filter(any_of(others)).order_by("pk")
    if last is not None:
        sessions = sessions.filter(pk__gt=last)
    columns = ("pk", "bot", "name", "key", as_text(), "version", "revision")
    return [
        (pk, Address(bot, name, key), Record(value_of(text), exact(version), revision=revision))
        for pk, bot, name, key, text, version, revision in sessions.values_list(*columns)[:size]
    ]


async def migrate_all(rows: Rows, fragments: Fragments) -> tuple[Changes, list[Failure]]:
    """Return what is to be stored instead of ``rows``, and what cannot be."""
    changes: Changes = {}
    failures = []
    most_bytes = max_bytes()
    for pk, address, record in rows:
        if record.value is None:
            continue
        if record.value is UNREADABLE:
            failures.append(Failure(address, "Its data is no JSON that Python can read."))
            continue
        try:
            new = await migrate_one(address, record, fragments[address[:2]], most_bytes)
        except Exception as exc:
            why, nameless = (reason(exc, record.version, in_detail=d) for d in (True, False))
            failures.append(Failure(address, why, told_by_author(exc), nameless))
        else:
            changes[pk] = Change(address, new, new_revision())
    return changes, failures


async def migrate_one(
    address: Address, record: Record, fragment: Fragment[Any], most_bytes: int
) -> Record:
    """Return the record in the newest version, if the bot can read and store it."""
    refuse_newer(address, record.version, fragment.newest_version)
    new = await migrated(fragment.storage, address, record)
    fragment.codec.decode(new.value)
    refuse_longer(ENCODER.encode(new.value), most_bytes)
    return new


def store(changes: Changes, table: Table) -> int:
    """Store what nobody has changed meanwhile, and return how much."""
    # What somebody else has locked is about to be changed. To wait for it with the others locked
    # could be a deadlock.
    features = connections[table.using].features
    with transaction.atomic(using=table.using):
        if features.has_select_for_update_skip_locked:
            sessions = with_keys(all_sessions(table.model, table.using), list(changes))
            locked = sessions.select_for_update(
                skip_locked=True, no_key=features.has_select_for_no_key_update
            )
            changes = {pk: changes[pk] for pk in locked.values_list("pk", flat=True)}
        sessions = with_keys(all_sessions(table.model, table.using), list(changes))
        with kept(sessions, "command:migrate_sessions", undoable=False):
            return len(table.rewrite(changes.values()))


def told_by_author(error: Exception) -> str:
    if isinstance(error, (SessionVersionError, SessionDataError)):
        return ""  # Its reason says all.
    if isinstance(error, SessionMigrationError):
        return told(error.__cause__) if error.__cause__ else ""
    return told(error)


def reason(error: Exception, version: Decimal | None, *, in_detail: bool) -> str:
    """Return why a session could not be migrated, without a word of its data.

    Args:
        in_detail: with names of fields in the data.
    """
    before = "no version" if version is None else f"version {version}"
    if isinstance(error, SessionMigrationError):
        return f"Its migration from {before} to version {error.version} {error.problem}."
    if isinstance(error, SessionVersionError):
        return f"It has {before}, which is newer than this code."
    if isinstance(error, SessionDataError):
        problem = f": {error}" if in_detail else "."
        return f"What it would be migrated to from {before} cannot be used{problem}"
    return f"It has {before}, and to read it raised {type(error).__name__}."
