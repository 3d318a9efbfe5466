"""The data in a unit of work: its own, and what it has joined of the code around it."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from .data import Data, Snapshot, data_for
from .declaration import Fragment
from .records import Address
from .sources import Source


class Holder(Protocol):
    """A unit of work that holds keys, and saves what belongs to them."""

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


class Contents:
    """The data of some fragments, by their names."""

    def __init__(self, fragments: Mapping[str, Fragment[Any]]) -> None:
        self.fragments = fragments
        self.all: dict[str, Data[Any]] = {}
        self.own: Sequence[Data[Any]] = ()
        """What the unit itself saves."""
        self.joined: dict[str, Joined] = {}

    async def find(self, bot: str, source: Source) -> None:
        """Ask the key functions.

        Raises:
            Exception: one failed, or its key cannot be used.
        """
        self.replace(await data_for(self.fragments, bot, source))

    def join(self, around: Iterable[Holder]) -> None:
        """Take part in the data whose keys the code around holds."""
        for holder in around:
            for name, data in self.all.items():
                if name in self.joined or data.address not in holder.held:
                    continue
                if (shared := holder.shared(data.address)) is not None:
                    self.all[name] = shared
                    self.joined[name] = Joined(holder, shared, shared.snapshot())
        self._find_own()

    def replace(self, fresher: Mapping[str, Data[Any]]) -> None:
        """Go on with fresher data of some fragments, which the unit saves itself."""
        self.all |= fresher
        self._find_own()

    def _find_own(self) -> None:
        self.own = [data for name, data in self.all.items() if name not in self.joined]

    def forget(self) -> None:
        self.all, self.own = {}, ()

    @property
    def addresses(self) -> list[Address]:
        """Where that is stored whose keys are to be held."""
        return [
            data.stored.address
            for data in self.all.values()
            if data.stored is not None and data.fragment.is_held
        ]

    def at(self, address: Address | None) -> Data[Any] | None:
        return next((data for data in self.all.values() if data.address == address), None)

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
        if not failed:
            self.forget()
            return
        for joined in self.joined.values():
            joined.data.restore(joined.before)
