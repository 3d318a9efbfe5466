"""``bot_data`` for code that runs outside of updates and jobs: filters, ``post_init``, tasks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from ..absent import ABSENT, Absent
from ..data import Data
from ..datapath import ROOT, Place, path_of
from ..declaration import Fragment
from ..exceptions import SessionConflict
from ..records import DECODER, Json, Record
from ..sources import Source
from ..unit import Unit
from .merging import Clash, by_entry, kind_of, merge, merged

logger = logging.getLogger(__name__)


class OutsideBotData:
    """What such code sees and changes, until it is saved: all of it has the same object."""

    def __init__(self, fragment: Fragment[Any], bot: str, source: Source, lock: str) -> None:
        self.newest: Record | Absent | None = ABSENT
        """What the process has read or written last, if this has not seen it."""
        self._bot, self._name = bot, fragment.name
        self._starting = False
        fragment = replace(fragment, merge=self._merge, noted=self._note)
        self._unit = Unit({self._name: fragment}, bot, source, lock=lock, holds=False)

    async def load(self) -> None:
        """Read it.

        Raises:
            Exception: there is none, because the storage failed.
        """
        await self._unit.load()

    @property
    def data(self) -> Data[Any]:
        """As the process knows it last, unless such code has changed it since."""
        data = self._unit.data(self._name)
        if not isinstance(self.newest, Absent) and not data.is_changed:
            data.take(self.newest)
            self.newest = ABSENT
        return data

    async def save(self, *, starting: bool = False) -> None:
        """Write what such code has changed, if anything.

        Args:
            starting: changes of others to the same entries are replaced, with a warning. If they
                have deleted all, what such code has changed is stored alone.

        Raises:
            SessionConflict: others have changed the same; then this is what they have made of it.
            Exception: the storage failed.
        """
        self._starting = starting
        try:
            await self._unit.save()
        except SessionConflict:
            await self._unit.data(self._name).reread()
            self.newest = ABSENT
            raise
        finally:
            self._starting = False

    def _note(self, record: Record | None) -> None:
        self.newest = ABSENT

    def _merge(self, before: Json, mine: Json, theirs: Json) -> Json:
        both = merged(before, mine, theirs)
        if both is not None or not self._starting:
            return both
        replaced: list[Place] = []
        value: Json = mine_first(before, mine, {} if theirs is None else theirs, replaced)
        if replaced:
            logger.warning(
                "Bot %r: while this process started, others have changed entries of bot_data that "
                "it has changed, too. What it has put there replaces theirs: %s.",
                self._bot,
                ", ".join(map(path_of, replaced)),
            )
        return value


def mine_first(
    before: Any, mine: Any, theirs: Any, replaced: list[Place], place: Place = ROOT
) -> Any:
    """Return what both changes together have made of ``before``; where they clash, mine.

    Args:
        replaced: is given the places where mine replaces another value.
        place: where the three are.
    """
    try:
        return merge(before, mine, theirs)
    except Clash:
        if kind_of(mine) != "dict" or kind_of(theirs) != "dict":
            if mine != theirs:
                replaced.append(place)
            return mine

    def entry_mine_first(name: bytes, before: Any, mine: Any, theirs: Any) -> Any:
        key = DECODER.decode(name)
        there = place, key if isinstance(key, str | int) else name.decode()
        return mine_first(before, mine, theirs, replaced, there)

    before = before if kind_of(before) == "dict" else ABSENT
    return by_entry("dict", (before, mine, theirs), entry_mine_first)
