"""How many sessions of which kind a table holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ..due import comes_due
from ..finding import Age, State, age_of, largest
from ..models import AbstractBotSession
from ..reading import is_readable
from .groups import Group, groups
from .known import COUNTED, Declared, Known, Place
from .numbers import NONE, Number, estimated, rounded
from .sampling import LOOKED_AT, Pick, pick
from .sql import Columns, version_of
from .times import HOURS, Times

READ = 200
"""So many sessions' data is read, to see whether their bots could,"""
MOST_READ_BYTES = 8 * 1024
"""but none that is longer."""
LARGEST = 10
PAST = (State.EXPIRED, State.DUE)
"""Those whose time is over."""


@dataclass(frozen=True)
class FragmentFigures:
    """The sessions of a bot's fragment."""

    bot: str
    name: str
    declared: bool
    """Whether the settings know it, or it is one of jobs or of a conversation."""
    total: Number
    states: dict[State, Number]
    behind: Number
    """Of those that have not expired, or are due."""
    newer: Number
    read: int
    """Of so many the data was read,"""
    unreadable: int
    """and of so many of these the bot could not."""
    active: dict[int, Number]
    """How many were changed within so many hours."""


@dataclass(frozen=True)
class VersionFigures:
    """The sessions of a fragment whose data has one version."""

    bot: str
    name: str
    version: Decimal | None
    age: Age | None
    """``None`` where the settings do not know the fragment."""
    sessions: Number


@dataclass(frozen=True)
class DayFigures:
    """The sessions that were made on a day, and those that were changed last on it."""

    day: date
    created: Number
    active: Number


@dataclass(frozen=True)
class TableFigures:
    """What there is to know of a table of sessions."""

    model: type[AbstractBotSession]
    using: str
    looked_at: int = 0
    """So many sessions stand for all of them,"""
    is_whole: bool = True
    """unless these are all."""
    expired: Number = NONE
    """With those that are due,"""
    to_be_swept: Number = NONE
    """and without."""
    oldest_expired: datetime | None = None
    fragments: Sequence[FragmentFigures] = ()
    versions: Sequence[VersionFigures] = ()
    days: Sequence[DayFigures] = ()
    largest: Sequence[Any] = ()
    """Sessions, without their data."""
    may_be_larger: bool = False
    """Whether there may be larger ones."""


def table_figures(
    model: type[AbstractBotSession],
    using: str,
    declared: Declared,
    times: Times,
    soon: timedelta,
) -> TableFigures:
    """Look at a table: five statements, whatever its size.

    Args:
        declared: the fragments that are kept there.
        soon: how long before its end a session expires soon.
    """
    columns = Columns(model, using)
    facts = Known(columns, declared, times)
    look = pick(columns, facts.extent, LOOKED_AT)
    found = groups(columns, look, times, soon)
    seen = sum(group.sessions for group in found)
    counts = Counts(found, look.scale(seen), look.is_whole)
    readable = read(columns, pick(columns, facts.extent, READ), declared)
    places = sorted({*declared, *(group.place for group in found)})
    return TableFigures(
        model,
        using,
        seen,
        look.is_whole,
        counts.or_known(facts.expired, lambda group: group.state in PAST),
        counts.or_known(facts.to_be_swept, lambda group: group.state == State.EXPIRED),
        facts.oldest_expired,
        [counts.of_fragment(p, declared, facts, readable.get(p, (0, 0))) for p in places],
        list(counts.of_versions(declared)),
        [counts.of_day(day, facts) for day in times.midnights],
        *largest(model._default_manager.using(using), LARGEST),
    )


def read(columns: Columns, look: Pick, declared: Declared) -> dict[Place, tuple[int, int]]:
    """Return of how many sessions the data was read, and how many of them no bot could read."""
    names = ", ".join(columns[name] for name in ("bot", "name", "version", "data"))
    source, picked = look.source(columns)
    short = f"{columns['size']} <= {MOST_READ_BYTES}"
    text = f"SELECT {names} FROM {source} AND {short} LIMIT {READ}"  # noqa: S608
    found: dict[Place, tuple[int, int]] = {}
    for bot, name, number, data in columns.rows(text, picked):
        fragment = declared.get((bot, name))
        if fragment is not None and version_of(number) == fragment.newest_version:
            count, bad = found.get((bot, name), (0, 0))
            found[bot, name] = count + 1, bad + (not is_readable(data, fragment))
    return found


@dataclass(frozen=True)
class Counts:
    """What was counted, and how it is to be taken."""

    groups: Sequence[Group]
    scale: float
    is_whole: bool

    def number(self, belongs: Callable[[Group], object]) -> Number:
        """Return how many sessions belong, as far as can be told."""
        count = sum(group.sessions for group in self.groups if belongs(group))
        return Number(count) if self.is_whole else estimated(count, self.scale)

    def or_known(self, number: int | None, belongs: Callable[[Group], object]) -> Number:
        return self.number(belongs) if number is None else Number(number)

    def in_state(self, state: State) -> Number:
        return self.number(lambda group: group.state == state)

    def within(self, hours: int) -> Number:
        return self.number(lambda group: hours in group.hours)

    def of_fragment(
        self, place: Place, declared: Declared, facts: Known, readable: tuple[int, int]
    ) -> FragmentFigures:
        own = Counts([g for g in self.groups if g.place == place], self.scale, self.is_whole)
        newest = declared[place].newest_version if place in declared else None

        def of_age(age: Age) -> Number:
            if place not in declared:
                return NONE
            number = facts.of_age(place, age)
            return own.or_known(number, lambda group: is_of_age(group, newest, age))

        return FragmentFigures(
            *place,
            place in declared or comes_due(place[1]),
            own.number(lambda group: True),
            {state: own.in_state(state) for state in states_of(place[1])},
            of_age(Age.BEHIND),
            of_age(Age.NEWER),
            *readable,
            {hours: own.within(hours) for hours in HOURS},
        )

    def of_versions(self, declared: Declared) -> Iterator[VersionFigures]:
        seen = Counter[tuple[Place, Decimal | None]]()
        for group in self.groups:
            seen[group.place, group.version] += group.sessions
        for (place, version), count in sorted(seen.items(), key=lambda item: order(item[0])):
            fragment = declared.get(place)
            age = None if fragment is None else age_of(version, fragment.newest_version)
            number = Number(count) if self.is_whole else estimated(count, self.scale)
            yield VersionFigures(*place, version, age, number)

    def created(self, day: date, facts: Known) -> Number:
        """Return how many were made on a day.

        A sample knows little of those, which are side by side. Keys were given away for so many,
        unless sessions have come from elsewhere with their dates.
        """
        known = facts.created(day)
        if known is not None:
            return Number(known)
        numbered = facts.numbered(day)
        seen = self.number(lambda group: group.created == day).value
        return Number(rounded(max(COUNTED, numbered if numbered > COUNTED else seen)), False)

    def of_day(self, day: date, facts: Known) -> DayFigures:
        return DayFigures(
            day,
            self.created(day, facts),
            self.number(lambda group: group.changed == day),
        )


def is_of_age(group: Group, newest: Decimal | None, age: Age) -> bool:
    """Whether sessions are behind the code and have not expired, or newer."""
    is_lasting = age != Age.BEHIND or group.state != State.EXPIRED
    return is_lasting and age_of(group.version, newest) == age


def order(of: tuple[Place, Decimal | None]) -> tuple[Place, bool, Decimal]:
    """Return where versions stand in a list: those without one first."""
    place, version = of
    return place, version is not None, version or Decimal(0)


def states_of(name: str) -> list[State]:
    """Return the states that sessions of a fragment can have."""
    return [State.LIVE, State.SOON, State.DUE if comes_due(name) else State.EXPIRED]
