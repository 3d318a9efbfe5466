"""A chat that becomes another chat."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from ...records import ANY, About, Address, Move, Record, awaited
from .case import StorageCase, expired_record


class MovingTests(StorageCase):
    """The sessions of a chat are found, and move to other keys."""

    async def test_the_sessions_of_a_chat_are_found_with_their_users(self) -> None:
        self.needs("of_chat")
        for key, about in {
            "-9": About(chat_id=-9),
            "5/-9": About(chat_id=-9, user_id=5),
            "-99": About(chat_id=-99),
            "5": About(user_id=5),
            "unknown": None,
        }.items():
            await self.write(self.address(key), Record(key, about=about))
        other = Address(f"{self.bot}-other", "", "-9")
        await self.write(other, Record("other", about=About(chat_id=-9)))
        found = await awaited(self.storage.of_chat, self.bot, -9)
        users = {address: about.user_id for address, about in found.items()}
        self.assertEqual(users, {self.address("-9"): None, self.address("5/-9"): 5})
        await self.delete(other, ANY)

    async def test_a_write_that_does_not_say_whose_a_session_is_leaves_that_as_it_was(self) -> None:
        self.needs("of_chat")
        address, about = self.address("-9"), About(chat_id=-9, user_id=5)
        await self.write(address, Record("old", about=about))
        await self.write(address, Record("new", revision=ANY))
        found = await awaited(self.storage.of_chat, self.bot, -9)
        self.assertEqual({a: about.user_id for a, about in found.items()}, {address: 5})

    async def test_sessions_that_move_take_everything_along_but_their_revision(self) -> None:
        self.needs("move")
        old = self.address("5/-9")
        await self.write(old, Record({"a": 1}, Decimal("1.5"), about=About(-9, 5, "group", "Us")))
        before = await self.read(old)
        assert before is not None
        move = Move(old, "5/-100", About(-100, chat_type="supergroup"))
        self.assertEqual(await self.move([move]), 1)
        self.assertIsNone(await self.read(old))
        after = await self.read(move.target)
        assert after is not None
        self.assertNotEqual(after.revision, before.revision)
        self.assertEqual(
            replace(after, revision=before.revision, about=None), replace(before, about=None)
        )
        found = await awaited(self.storage.of_chat, self.bot, -100)
        self.assertEqual(found[move.target].user_id, 5)
        self.assertEqual(await self.move([move]), 0)

    async def test_a_session_moves_only_where_there_is_none(self) -> None:
        self.needs("move")
        old, new = self.address("-9"), self.address("-100")
        for address in old, new:
            await self.write(address, Record(address.key))
        moves = [Move(old, new.key, About(-100)), Move(self.address("gone"), "7", About(-100))]
        self.assertEqual(await self.move(moves), 0)
        for address in old, new:
            await self.assert_holds(address, address.key)

    async def test_what_has_expired_does_not_move_nor_stand_in_the_way(self) -> None:
        self.needs("move")
        self.needs_kept("expiries")
        live, expired = self.address("-9"), self.address("-100")
        await self.write(live, Record("live"))
        await self.write(expired, expired_record())
        self.assertEqual(await self.move([Move(expired, "-1000", About(-1000))]), 0)
        self.assertEqual(await self.move([Move(live, "-100", About(-100))]), 1)
        await self.assert_holds(expired, "live")
        self.assertEqual(await self.move([]), 0)

    async def move(self, moves: list[Move]) -> int:
        moved: int = await awaited(self.storage.move, moves)
        return moved
