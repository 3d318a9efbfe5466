"""The data in a unit of work: its own, and what it has joined of the code around it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from .data import Data
from .declaration import Fragment
from .exceptions import SessionConflict
from .keys import check_key
from .records import Address
from .snapshots import Snapshot, inside
from .sources import Source


class Holder(Protocol):
    """A unit of work that holds keys, and saves what belongs to them."""

    contents: Contents
    spoiled: Exception | None
    """Why nothing is saved any more."""

    @property
    def over(self) -> bool:
        """Whether it saves nothing more."""

    @property
    def held(self) -> Collection[Any]:
        """The keys that it holds."""

    def shared(self, address: Address | None) -> Data[Any] | None:
        """Return the data of an address, for code that joins."""

    async def reach(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await something of the unit in code that has joined it, maybe in another thread."""

    async def save(self) -> None:
        """Write what has changed."""


class Joined(NamedTuple):
    """Data of a unit around this one."""

    holder: Holder
    data: Data[Any]
    before: Snapshot
    since: int
    """How much of :attr:`.Data.touched` was before."""


class Contents:
    """The data of some fragments, by their names."""

    is_abandoned = False
    """Whether it is a generator's that was closed: others have run in it, as if they were it."""
    _marks: frozenset[object] = frozenset()
    """Its own, and those of the contents around it."""

    def __init__(self, fragments: Mapping[str, Fragment[Any]]) -> None:
        self.fragments = fragments
        self._mark = object()
        self.all: dict[str, Data[Any]] = {}
        self.own: Sequence[Data[Any]] = ()
        """What the unit itself saves."""
        self.joined: dict[str, Joined] = {}
        self.added: list[Data[Any]] = []
        """What no fragment leads to, as far as the exchange has not seen it yet."""
        self._added_in: dict[Data[Any], frozenset[object]] = {}
        """All of that, one after another, with the marks of the code that has added it."""

    async def find(self, bot: str, source: Source) -> None:
        """Ask the key functions. Nothing is known yet of what is stored under the keys.

        Raises:
            SessionKeyError: a key cannot be used.
            Exception: what a key function raised.
        """
        found: dict[str, Data[Any]] = {}
        for name, fragment in self.fragments.items():
            if fragment.key is not None:
                found[name] = Data(fragment, Address(bot, name, fragment.key))
                continue
            function = fragment.get_session_key
            key = source.key(function)
            if not isinstance(key, str) and inspect.isawaitable(key):
                key = await key
            if key is None:
                no_key, readable = source.no_key(function), source.readable(function)
                found[name] = Data(fragment, None, no_key=no_key, unreadable=not readable)
            else:
                address = Address(bot, name, check_key(key))
                found[name] = Data(fragment, address, partial(source.about, function))
        self.all |= found
        self._find_own()

    def join(self, around: Iterable[Holder]) -> None:
        """Take part in the data whose keys the code around holds."""
        holders = list(around)
        self._marks = self._marks_here.union(*(h.contents._marks for h in holders))
        for holder in holders:
            for name, data in self.all.items():
                if name in self.joined or data.address not in holder.held:
                    continue
                if (shared := holder.shared(data.address)) is not None:
                    self.all[name] = shared
                    self._join(name, holder, shared)
        self._find_own()

    def take_part(self, holder: Holder) -> None:
        """Be a block of a unit's own code, that may be undone."""
        self._marks = self._marks_here
        for name, data in holder.contents.all.items():
            joined = holder.contents.joined.get(name)
            if data.stored is not None:
                self._join(name, holder if joined is None else joined.holder, data)

    def _join(self, name: str, holder: Holder, data: Data[Any]) -> None:
        self.joined[name] = Joined(holder, data, data.snapshot(), len(data.touched))
        data.blocks.append(self._mark)

    @property
    def _marks_here(self) -> frozenset[object]:
        return inside.get() | {self._mark}

    def step_in(self) -> None:
        """Have what the running code does known as done in this."""
        inside.set(self._marks_here)

    def step_out(self) -> None:
        inside.set(inside.get() - {self._mark})

    def replace(self, fresher: Mapping[str, Data[Any]]) -> None:
        """Go on with fresher data of some fragments, which the unit saves itself."""
        for name in fresher:
            if name in self.all:
                self.all[name].drop_replaced()
        self.all |= fresher
        self._find_own()

    def add(self, data: Data[Any]) -> None:
        """Have data saved, too, that no fragment of the unit leads to."""
        assert data.address is not None
        name = self._name_at(data.address)
        if name in self.all:
            self.replace({name: data})
        else:  # There may be thousands.
            self.all[name] = data
            self.own = [*self.own, data]
        self.added.append(data)
        self._added_in[data] = inside.get()

    def snapshot(self) -> tuple[dict[str, Data[Any]], frozenset[object]]:
        """Return what there is now, and the marks of the running block, for :meth:`restore`."""
        return dict(self.all), inside.get()

    def restore(self, before: tuple[dict[str, Data[Any]], frozenset[object]]) -> None:
        """Let there be what was there before a block, and what code beside it has added since.

        What was written since stays, too.
        """
        there, block = before
        self._added_in = {d: marks for d, marks in self._added_in.items() if not marks >= block}
        beside = {self._name_at(d.address): d for d in self._added_in if d.address is not None}
        written = {name: data for name, data in self.all.items() if data.was_written}
        self.all = there | beside | written
        kept = {*self.all.values()}
        self.added = [data for data in self.added if data in kept]
        self._find_own()

    def _find_own(self) -> None:
        self.own = [data for name, data in self.all.items() if name not in self.joined]

    def forget(self) -> None:
        self.all, self.own, self.added, self._added_in = {}, (), [], {}

    @property
    def addresses(self) -> list[Address]:
        """Where that is stored whose keys are to be held."""
        return [
            data.stored.address
            for data in self.all.values()
            if data.stored is not None and data.fragment.is_held
        ]

    def at(self, address: Address | None) -> Data[Any] | None:
        return None if address is None else self.all.get(self._name_at(address))

    def _name_at(self, address: Address) -> str:
        """Return the name that the data of an address has here, or is to have if it is added."""
        fragment = self.all.get(address.name)
        if fragment is not None and fragment.address == address:
            return address.name
        return str(address)

    @property
    def has_lost_holders(self) -> bool:
        """Whether a unit is over that was to save some of it."""
        return any(each.holder.over for each in self.joined.values())

    def close(self, *, failed: bool) -> None:
        """End what is under way; let data of units around be what it was, if the unit has failed.

        Error handlers may still look at the rest then.
        """
        for data in self.own:
            data.close()
        for each in self.joined.values():
            each.data.blocks.remove(self._mark)
        if failed:
            self.undo()
            return
        for each in self.joined.values():
            each.data.touched.append(self._marks)
        self.forget()

    def undo(self) -> None:
        """Let data of units around be what it was.

        That is not possible where other code may have changed it meanwhile.
        """
        for each in self.joined.values():
            data, later = each.data, each.data.touched[each.since :]
            others = [marks for marks in later if marks is not None and self._mark not in marks]
            if others or not self._marks.issuperset(data.blocks):
                each.holder.spoiled = overlapped(data.address)
            elif self.is_abandoned and data.differs(each.before):
                each.holder.spoiled = abandoned(data.address)
            else:
                data.restore(each.before)
                data.touched[each.since :] = [None] * len(later)

    @property
    def was_joined(self) -> bool:
        """Whether others may have changed what it was to save."""
        return any(marks is not None for data in self.own for marks in data.touched)


def overlapped(address: Address | None) -> SessionConflict:
    return SessionConflict(
        f"Session {address} was edited by a block, and by other code at the same time, and the "
        "block raised: it cannot be undone without what the other has changed. Nothing was "
        "written. Let a block end before other code uses the session."
    )


def abandoned(address: Address | None) -> SessionConflict:
    return SessionConflict(
        f"Session {address} was changed while a generator was in a block, and the generator was "
        "closed there: it cannot be undone without what other code has changed. Nothing was "
        "written. Let generators end their blocks before they yield."
    )
