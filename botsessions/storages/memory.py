"""Sessions in this process's memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeAlias

from msgspec.structs import replace

from ..arguments import telling_usage
from ..records import (
    ANY,
    About,
    Address,
    Changes,
    Move,
    Record,
    Revision,
    conflict,
    dumps,
    loads,
    new_revision,
)

Stored: TypeAlias = "tuple[Record, str]"


class MemoryStorage:
    """Keeps sessions until the process ends: for tests and throw-away bots.

    Values are kept as JSON text, so nobody holds an object that is stored.
    """

    detects_conflicts = True

    @telling_usage
    def __init__(self) -> None:
        self._stored: dict[Address, Stored] = {}
        self._mutex = threading.Lock()

    async def read(self, address: Address) -> Record | None:
        return (await self.read_many([address])).get(address)

    async def read_many(self, addresses: list[Address]) -> dict[Address, Record]:
        with self._mutex:
            found = {a: self._stored[a] for a in addresses if a in self._stored}
        return {
            address: replace(record, value=loads(text)).live()
            for address, (record, text) in found.items()
        }

    async def write(self, address: Address, record: Record) -> int:
        (revision,) = await self.write_many([(address, record)])
        assert revision is not None
        return revision

    async def delete(self, address: Address, revision: Revision) -> None:
        await self.write_many([(address, Record(None, revision=revision))])

    async def write_many(self, changes: Changes) -> list[int | None]:
        texts = [dumps(record.value) for _, record in changes]
        with self._mutex:
            for address, record in changes:
                self._compare(address, record)
            return [
                self._put(address, record, text)
                for (address, record), text in zip(changes, texts, strict=True)
            ]

    async def renew(self, address: Address, record: Record) -> None:
        with self._mutex:
            stored, text = self._stored.get(address, (None, ""))
            if stored is not None and stored.revision == record.revision:
                self._stored[address] = (replace(stored, expires_at=record.expires_at), text)

    async def of_chat(self, bot: str, chat_id: int) -> dict[Address, About]:
        with self._mutex:
            return {
                address: record.about
                for address, (record, _) in self._stored.items()
                if address.bot == bot and record.about and record.about.chat_id == chat_id
            }

    async def move(self, moves: Sequence[Move]) -> int:
        with self._mutex:
            return sum(map(self._move, moves))

    def _move(self, move: Move) -> bool:
        if not self._is_live(move.address) or self._is_live(move.target):
            return False
        record, text = self._stored.pop(move.address)
        about = move.about.over(record.about)
        self._stored[move.target] = replace(record, revision=new_revision(), about=about), text
        return True

    def _is_live(self, address: Address) -> bool:
        record, _ = self._stored.get(address, (None, ""))
        return record is not None and record.live() is record

    def _compare(self, address: Address, record: Record) -> None:
        stored, _ = self._stored.get(address, (None, ""))
        if stored is None and record.value is None:
            return
        found = stored.revision if stored else None
        if record.revision is not ANY and record.revision != found:
            raise conflict(address)

    def _put(self, address: Address, record: Record, text: str) -> int | None:
        if record.value is None:
            self._stored.pop(address, None)
            return None
        revision = new_revision()
        about = record.about
        if about is None and address in self._stored:
            about = self._stored[address][0].about
        record = Record(None, record.version, record.expires_at, revision, about)
        self._stored[address] = (record, text)
        return revision
