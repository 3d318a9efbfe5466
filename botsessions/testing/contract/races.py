"""Several who change one record at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...exceptions import SessionConflict
from ...records import ANY, Address, Record
from ...storages.layers import peel
from ..faults import sneaking_in
from .case import StorageCase

MANY = 20


class RaceTests(StorageCase):
    """Of those who have read the same, one wins, and no change is lost."""

    async def test_of_many_writers_with_one_revision_exactly_one_wins(self) -> None:
        self.needs_detects_conflicts()
        created, changed = self.address("42"), self.address("43")
        read = await self.write(changed, Record("read"))
        for address, revision in ((created, None), (changed, read)):
            with self.subTest(revision=revision):
                outcomes = await asyncio.gather(
                    *(self.write(address, Record(n, revision=revision)) for n in range(MANY)),
                    return_exceptions=True,
                )
                winners = [n for n in range(MANY) if not isinstance(outcomes[n], BaseException)]
                losers = [outcome for outcome in outcomes if isinstance(outcome, SessionConflict)]
                self.assertEqual((len(winners), len(losers)), (1, MANY - 1), outcomes)
                await self.assert_holds(address, winners[0])

    async def test_of_many_who_delete_and_write_with_one_revision_one_kind_wins(self) -> None:
        self.needs_detects_conflicts()
        for first in (0, 1):
            for count in (2, MANY):
                with self.subTest(first="delete" if first else "write", count=count):
                    await self.assert_one_kind_wins(first, count)

    async def test_a_change_while_a_delete_compares_is_not_deleted(self) -> None:
        await self.assert_sees_what_is_sneaked_in(lambda address, read: self.delete(address, read))

    async def test_a_change_while_a_write_compares_is_not_written_over(self) -> None:
        await self.assert_sees_what_is_sneaked_in(
            lambda address, read: self.write(address, Record("late", revision=read))
        )

    async def assert_one_kind_wins(self, first: int, count: int) -> None:
        address = self.address("42")
        read = await self.write(address, Record("read", revision=ANY))
        changes = [
            self.delete(address, read)
            if n % 2 != first
            else self.write(address, Record(n, revision=read))
            for n in range(count)
        ]
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        done = [n for n in range(count) if not isinstance(outcomes[n], BaseException)]
        written = [n for n in done if n % 2 == first]
        self.assertEqual({type(o) for o in outcomes} - {int, type(None)}, {SessionConflict})
        if written:
            self.assertEqual(done, written[:1], outcomes)
            await self.assert_holds(address, written[0])
        else:
            self.assertIsNone(await self.read(address))

    async def assert_sees_what_is_sneaked_in(
        self, change: Callable[[Address, int], Awaitable[object]]
    ) -> None:
        self.needs_detects_conflicts()
        address, storage = self.address("42"), peel(self.storage)[1]
        read = await self.write(address, Record("read"))
        record = Record("sneaked in", revision=read)
        async with sneaking_in(storage, address, record) as outcomes:
            with suppress(SessionConflict):
                await change(address, read)
        if any(isinstance(outcome, int) for outcome in outcomes):
            await self.assert_holds(address, "sneaked in")
