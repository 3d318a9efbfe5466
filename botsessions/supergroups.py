"""Taking a group's sessions along when it becomes a supergroup, and so gets another id."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from .callbacks import fragments_of_jobs, storage_of_jobs
from .database.claims import Claim
from .declaration import Fragment
from .exceptions import SessionConflict
from .keys import in_other_chat, shows_chat
from .records import About, Address, Move, Record, Revision, Storage, awaited, conflict
from .sources import Source, supergroup
from .storages.layers import by_innermost
from .storages.uncancelled import to_its_end
from .stored import Stored
from .unit import Unit, enclosing, whole_chat

ATTEMPTS = 3


class MovingUnit(Unit):
    """Moves the sessions of the chat ``old`` to the chat ``new`` when it is entered.

    It holds the keys of both chats, and its own session is that of the new one. Other units of
    these chats that come later wait for it, whatever their keys.
    """

    comes_first = True

    def __init__(
        self,
        fragments: Mapping[str, Fragment[Any]],
        bot: str,
        source: Source,
        old: int,
        new: int,
        *,
        lock: str,
        outer: Unit | None = None,
        claim: Claim | None = None,
    ) -> None:
        super().__init__(fragments, bot, source, lock=lock, outer=outer, claim=claim)
        self.moved = 0
        """How many sessions were moved."""
        self._old, self._new = old, new
        self._moving: dict[str, Move] = {}  # By fragment, what the unit itself goes on with.

    async def enter(self) -> None:
        """Find the keys, wait for them, and move the sessions. An error is kept for later."""
        if self._entered:
            return
        await super().enter()
        if self.error is None:
            try:
                await self.exchange.read([])  # Which takes the keys among all processes, too.
                await to_its_end(self._move())
            except Exception as exc:
                self.error = exc

    async def find_keys(self) -> None:
        """Ask the key functions, also for the other chat."""
        await super().find_keys()
        try:
            for name, data in self.contents.all.items():
                if data.stored is not None:
                    await self._find_move(name, data.stored)
        except Exception:
            self.contents.forget()
            raise

    async def _find_move(self, name: str, stored: Stored[Any]) -> None:
        """Give what is stored the key in the new chat, and note what moves there."""
        address = stored.address
        function, key = stored.fragment.get_session_key, address.key
        others = {n: i for n, i in self.source.ids.items() if n != "chat"}
        new = await in_other_chat(function, key, {**others, "chat": self._old}, self._new)
        old = await in_other_chat(function, key, {**others, "chat": self._new}, self._old)
        if new is not None:
            self._moving[name] = self._to(new, address)
        elif old is not None:
            self._moving[name] = self._to(key, address._replace(key=old))
        if name in self._moving:
            stored.address = self._moving[name].target

    @property
    def addresses(self) -> list[Address]:
        chats = [whole_chat(self.bot, self._old), whole_chat(self.bot, self._new)]
        return [*super().addresses, *(move.address for move in self._moving.values()), *chats]

    def wanted_besides(self, wanted: Collection[Any]) -> list[Address]:
        """Return the keys of other members for whom handlers run or wait now."""
        own, chats = self.addresses, (self._old, self._new)
        return [
            address
            for address in list(wanted)
            if isinstance(address, Address)
            and address.bot == self.bot
            and address not in own
            and any(shows_chat(address.key, chat) for chat in chats)
        ]

    async def _move(self) -> None:
        names = list(self.fragments)
        storages = by_innermost([fragment.storage for fragment in self.fragments.values()])
        jobs: Storage = storage_of_jobs(self.fragments)
        if fragments_of_jobs() and all(storage != jobs for storage, _ in storages):
            storages.append((jobs, []))
        for storage, indices in storages:
            own = [self._moving[name] for i in indices if (name := names[i]) in self._moving]
            self.moved += await self._move_in(storage, own)

    async def _move_in(self, storage: Any, own: list[Move]) -> int:
        if not hasattr(storage, "of_chat"):
            moved = sum([await move_one(storage, move) for move in own])
            await self._tell_around(own)
            return moved
        moves = {move.address: move for move in own}
        found: Mapping[Address, About] = await awaited(storage.of_chat, self.bot, self._old)
        for address, about in found.items():
            if address not in moves and (key := await self._key(address, about)) is not None:
                moves[address] = self._to(key, address)
        moved = int(await awaited(storage.move, list(moves.values()))) if moves else 0
        await self._tell_around(moves.values())
        return moved

    async def _tell_around(self, moves: Collection[Move]) -> None:
        """Let the code that has asked for this go on with its own session."""
        for unit in enclosing(self.outer):
            await unit.exchange.follow({move.address: move.target for move in moves})

    async def _key(self, address: Address, about: About) -> str | None:
        """Return the new key of a session of the old chat, if it has one."""
        fragment = self.fragments.get(address.name)
        ids = {"chat": self._old} | ({} if about.user_id is None else {"user": about.user_id})
        function = None if fragment is None else fragment.get_session_key
        return await in_other_chat(function, address.key, ids, self._new)

    def _to(self, key: str, address: Address) -> Move:
        return Move(address, key, supergroup(self._new))


async def move_one(storage: Any, move: Move) -> bool:
    """Move a session in a storage that does not find those of a chat; return whether it did.

    Raises:
        SessionConflict: others change it all the time.
    """
    for _ in range(ATTEMPTS):
        record = await awaited(storage.read, move.address)
        there = await awaited(storage.read, move.target)
        if record is None or record.value is None or (there and there.value is not None):
            return False
        moved = replace(record, revision=there and there.revision, about=move.about)
        with suppress(SessionConflict):
            await write_instead(storage, move.target, moved, move.address, record.revision)
            return True
    raise conflict(move.address)


async def write_instead(
    storage: Any, target: Address, record: Record, address: Address, revision: Revision
) -> None:
    if hasattr(storage, "write_many"):
        deletion = Record(None, revision=revision)
        await awaited(storage.write_many, [(target, record), (address, deletion)])
    else:  # In this order nothing can get lost.
        await awaited(storage.write, target, record)
        await awaited(storage.delete, address, revision)
