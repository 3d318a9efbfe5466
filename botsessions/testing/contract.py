"""The contract of storages, as tests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

from msgspec.structs import replace

from ..exceptions import SessionConflict
from ..records import (
    ANY,
    About,
    Address,
    BatchStorage,
    Changes,
    Json,
    Move,
    MovingStorage,
    Record,
    RenewingStorage,
    Revision,
    Storage,
    awaited,
    utcnow,
)
from ..storages.enhanced import enhance_storage
from ..storages.layers import peel
from .cases import ADDRESSES, KEYS, NEIGHBOURS, VALUES, VERSIONS
from .faults import sneaking_in, unusable

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object


class FullStorage(BatchStorage, MovingStorage, Protocol):
    """A storage that can do all that is optional."""


MANY = 20


class StorageContract(TestCase):
    """What every storage has to do. Mix it into a test case that can run ``async`` tests.

    Django's test cases and ``unittest.IsolatedAsyncioTestCase`` can::

        class RedisStorageTests(StorageContract, SimpleTestCase):
            def make_storage(self):
                return RedisStorage("redis://127.0.0.1/1")

    The store may hold other data: each test has addresses of its own. What a storage says it cannot
    do (``detects_conflicts``, ``renew``, ``read_many``, ``write_many``, ``of_chat``, ``move``) is
    skipped.
    """

    keeps_versions = True
    """Whether versions are stored as they are given. An enhanced storage writes its own."""
    keeps_expiries = True
    """The same of expiries."""

    def make_storage(self) -> Storage:
        """Return the storage under test."""
        raise NotImplementedError

    def make_broken_storage(self) -> Storage | None:
        """Return one like it that cannot reach its store; ``None`` if there is no way to make one.

        Then the tests provoke errors by keys that cannot be used, which is less than an outage.
        """
        return None

    # Reading what was written.

    async def test_what_was_never_written_reads_as_none(self) -> None:
        self.assertIsNone(await self.read(self.address("42")))

    async def test_what_is_written_reads_back_equal(self) -> None:
        for number, (kind, value) in enumerate(VALUES.items()):
            with self.subTest(kind):
                address = self.address(str(number))
                revision = await self.write(address, Record(value))
                await self.assert_holds(address, value)
                tomorrow = utcnow() + timedelta(days=1)
                await self.write(address, Record(value, Decimal(1), tomorrow, revision))
                await self.assert_holds(address, value)

    async def test_a_later_write_replaces_the_whole_value(self) -> None:
        address = self.address("42")
        revision = await self.write(address, Record({"old": 1, "nested": {"old": 2}}))
        await self.write(address, Record({"nested": {}}, revision=revision))
        await self.assert_holds(address, {"nested": {}})

    async def test_a_change_of_what_was_written_does_not_change_what_is_stored(self) -> None:
        toppings: list[Json] = ["olives"]
        address = self.address("42")
        await self.write(address, Record({"toppings": toppings}))
        toppings.append("pineapple")
        await self.assert_holds(address, {"toppings": ["olives"]})

    async def test_a_change_of_what_was_read_does_not_change_what_is_stored(self) -> None:
        address = self.address("42")
        await self.write(address, Record({"toppings": ["olives"]}, Decimal(1)))
        record = await self.read(address)
        assert record is not None
        value: Any = record.value
        value["toppings"].append("pineapple")
        await self.assert_holds(address, {"toppings": ["olives"]})

    async def test_similar_keys_are_different_keys(self) -> None:
        for key in KEYS:
            with self.subTest(key):
                self.assertIsNone(await self.read(self.address(key)))
                await self.write(self.address(key), Record(key))
        for key in KEYS:
            with self.subTest(key):
                await self.assert_holds(self.address(key), key)

    async def test_bots_and_fragments_never_share_a_record(self) -> None:
        addresses = [Address(self.bot + bot, name, key) for bot, name, key in ADDRESSES]
        for address in addresses:
            with self.subTest(address):
                self.assertIsNone(await self.read(address))
                await self.write(address, Record([*address]))
        for address in addresses:
            with self.subTest(address):
                await self.assert_holds(address, [*address])

    async def test_versions_are_exact(self) -> None:
        self.needs_kept("versions")
        for version in map(Decimal, VERSIONS):
            with self.subTest(version):
                address = self.address(str(version))
                await self.write(address, Record({}, version))
                record = await self.read(address)
                assert record is not None
                self.assertEqual(record.version, version)
                self.assertIsInstance(record.version, Decimal)

    async def test_a_record_without_version_and_expiry_stays_without(self) -> None:
        self.needs_kept("versions")
        self.needs_kept("expiries")
        address = self.address("42")
        revision = await self.write(address, Record(1, Decimal(1), utcnow() + timedelta(days=1)))
        await self.write(address, Record(2, revision=revision))
        record = await self.read(address)
        assert record is not None
        self.assertEqual((record.value, record.version, record.expires_at), (2, None, None))

    # A store that fails.

    async def test_an_error_on_reading_is_raised_and_never_reads_as_empty(self) -> None:
        address = self.address("42")
        await self.write(address, Record("stored"))

        async def reads(found: Any) -> bool:
            return found is not None and found.value == "stored"

        await self.assert_raises_if_broken(self.read, address, reads)
        if hasattr(peel(self.storage)[1], "read_many"):
            await self.assert_raises_if_broken(self.read_as_one_of_many, address, reads)

    async def test_an_error_on_writing_is_raised(self) -> None:
        address = self.address("42")

        async def write(address: Address) -> int:
            return await self.write(address, Record("stored"))

        async def writes(revision: Any) -> bool:
            return await self.read(address) is not None

        await self.assert_raises_if_broken(write, address, writes)

    async def test_an_error_on_deleting_is_raised(self) -> None:
        address = self.address("42")
        await self.write(address, Record("stored"))

        async def delete(address: Address) -> None:
            await self.delete(address, ANY)

        async def deletes(result: Any) -> bool:
            return await self.read(address) is None

        await self.assert_raises_if_broken(delete, address, deletes)

    # Expiry.

    async def test_an_expiry_reads_back_to_the_millisecond(self) -> None:
        self.needs_kept("expiries")
        for lifetime in (timedelta(seconds=30), timedelta(days=1), timedelta(days=36500)):
            with self.subTest(lifetime):
                address, expires_at = self.address(str(lifetime)), utcnow() + lifetime
                await self.write(address, Record({"a": 1}, expires_at=expires_at))
                record = await self.read(address)
                assert record is not None
                assert record.expires_at is not None
                self.assertEqual(record.value, {"a": 1})
                self.assertLess(abs(record.expires_at - expires_at), timedelta(milliseconds=2))

    async def test_what_has_expired_is_not_shown(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        record = await self.read(address)
        self.assertIsNone(record and record.value)

    async def test_what_expires_meanwhile_is_not_shown_any_more(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, Record(1, expires_at=utcnow() + timedelta(milliseconds=50)))
        await asyncio.sleep(0.1)
        record = await self.read(address)
        self.assertIsNone(record and record.value)

    async def test_what_has_expired_can_be_replaced_and_deleted_by_who_has_read_it(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        revision = await self.write(address, Record(2, revision=await self.read_revision(address)))
        await self.assert_holds(address, 2)
        await self.write(address, replace(expired_record(), revision=revision))
        await self.delete(address, await self.read_revision(address))
        self.assertIsNone(await self.read(address))

    async def test_what_has_expired_keeps_its_revision(self) -> None:
        self.needs_kept("expiries")
        self.needs_detects_conflicts()
        address = self.address("42")
        revision = await self.write(address, expired_record())
        record = await self.read(address)
        assert record is not None
        self.assertEqual(record.revision, revision)
        await self.assert_refused(self.write(address, Record(2)))

    async def test_what_has_expired_is_there_for_those_who_are_told_of_it(self) -> None:
        self.needs_kept("expiries")
        address = self.address("42")
        await self.write(address, expired_record())
        record = await self.read(address)
        if record is None:
            self.skipTest(f"{self.innermost} forgets what has expired by itself.")
        self.assertEqual((record.value, record.expired), (None, "expired"))

    async def test_who_wants_to_hear_of_an_expiry_is_told_once_and_then_it_is_gone(self) -> None:
        self.needs_kept("expiries")
        told: list[tuple[str, Any]] = []
        address = self.address("42")
        await self.write(address, expired_record())
        if await self.read(address) is None:
            self.skipTest(f"{self.innermost} forgets what has expired by itself.")
        storage = enhance_storage(
            self.storage, on_expire=lambda key, data: told.append((key, data))
        )
        for _ in range(2):
            self.assertIsNone(await storage.read(address))
            self.assertEqual(told, [("42", "expired")])

    # Renewing.

    async def test_a_renewal_changes_the_expiry_and_nothing_else(self) -> None:
        self.needs_kept("expiries")
        self.needs("renew")
        tomorrow = utcnow() + timedelta(days=1)
        addresses = [self.address("42"), self.address("43")]
        for address, expires_at in zip(
            addresses, (utcnow() + timedelta(hours=1), None), strict=True
        ):
            await self.write(address, Record({"a": 1}, Decimal(1), expires_at))
        found = [await self.read(address) for address in addresses]
        before = [record for record in found if record is not None]
        await asyncio.gather(
            *(
                self.renew(address, replace(record, value="ignored", expires_at=tomorrow))
                for address, record in zip(addresses, before, strict=True)
            )
        )
        for address, old in zip(addresses, before, strict=True):
            record = await self.read(address)
            assert record is not None
            assert record.expires_at is not None
            self.assertEqual(replace(record, expires_at=old.expires_at), old)
            self.assertLess(abs(record.expires_at - tomorrow), timedelta(milliseconds=2))

    async def test_a_renewal_of_what_was_changed_or_deleted_does_nothing(self) -> None:
        self.needs_kept("expiries")
        self.needs("renew")
        self.needs_detects_conflicts()
        tomorrow = utcnow() + timedelta(days=1)
        changed, deleted = self.address("42"), self.address("43")
        first, second = [await self.write(address, Record(1)) for address in (changed, deleted)]
        await self.write(changed, Record(2, revision=first))
        await self.delete(deleted, second)
        for address, revision in ((changed, first), (deleted, second)):
            await self.renew(address, Record(1, expires_at=tomorrow, revision=revision))
        record = await self.read(changed)
        assert record is not None
        self.assertEqual((record.value, record.expires_at), (2, None))
        self.assertIsNone(await self.read(deleted))

    # Revisions.

    async def test_a_read_gives_the_revision_of_the_last_write(self) -> None:
        address = self.address("42")
        revision: Revision = None
        for value in range(3):
            revision = await self.write(address, Record(value, revision=revision))
            record = await self.read(address)
            assert record is not None
            self.assertEqual((record.value, record.revision), (value, revision))

    async def test_no_revision_is_ever_used_twice(self) -> None:
        self.needs_detects_conflicts()
        address, revisions = self.address("42"), []
        for _ in range(3):
            revisions.append(await self.write(address, Record("the same")))
            revisions.append(await self.write(address, Record("the same", revision=revisions[-1])))
            revisions.append(await self.write(address, Record("the same", revision=ANY)))
            await self.delete(address, revisions[-1])
        self.assertEqual(len(set(revisions)), len(revisions))

    async def test_a_write_that_finds_its_record_changed_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        changed = await self.write(address, Record("changed", revision=read))
        await self.assert_refused(self.write(address, Record("late", revision=read)))
        await self.assert_holds(address, "changed")
        await self.write(address, Record("in time", revision=changed))
        await self.assert_holds(address, "in time")

    async def test_a_write_that_finds_its_record_deleted_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        await self.delete(address, read)
        await self.assert_refused(self.write(address, Record("risen", revision=read)))
        self.assertIsNone(await self.read(address))

    async def test_delete_and_creation_in_between_do_not_fool_a_writer(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("the same"))
        await self.delete(address, read)
        await self.write(address, Record("the same"))
        await self.assert_refused(self.write(address, Record("late", revision=read)))
        await self.assert_refused(self.delete(address, read))
        await self.assert_holds(address, "the same")

    async def test_a_creation_that_finds_a_record_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        await self.write(address, Record("first"))
        await self.assert_refused(self.write(address, Record("second")))
        await self.assert_holds(address, "first")

    async def test_any_revision_creates_and_replaces(self) -> None:
        address = self.address("42")
        await self.write(address, Record("first", revision=ANY))
        await self.assert_holds(address, "first")
        await self.write(address, Record("second", revision=ANY))
        await self.assert_holds(address, "second")

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

    # Deleting.

    async def test_what_was_deleted_reads_as_none(self) -> None:
        for revision in ("its own", ANY):
            with self.subTest(revision):
                address = self.address("42")
                written = await self.write(address, Record({}))
                await self.delete(address, ANY if revision is ANY else written)
                self.assertIsNone(await self.read(address))

    async def test_deleting_what_is_not_there_is_no_error(self) -> None:
        address = self.address("42")
        for revision in (None, 1, ANY):
            with self.subTest(revision):
                await self.delete(address, revision)
                self.assertIsNone(await self.read(address))

    async def test_a_delete_whose_record_changed_is_refused(self) -> None:
        self.needs_detects_conflicts()
        address = self.address("42")
        read = await self.write(address, Record("read"))
        await self.write(address, Record("changed", revision=read))
        for revision in (read, None):
            with self.subTest(revision=revision):
                await self.assert_refused(self.delete(address, revision))
                await self.assert_holds(address, "changed")

    async def test_a_delete_touches_no_other_record(self) -> None:
        others = [Address(self.bot + bot, name, key) for bot, name, key in NEIGHBOURS]
        for address in others:
            await self.write(address, Record([*address]))
        for revision in ("its own", ANY):
            written = await self.write(self.address("42"), Record("42"))
            await self.delete(self.address("42"), ANY if revision is ANY else written)
            self.assertIsNone(await self.read(self.address("42")))
            for address in others:
                with self.subTest(address, revision=revision):
                    await self.assert_holds(address, [*address])

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

    # Many at once.

    async def test_many_are_read_at_once(self) -> None:
        self.needs("read_many")
        addresses = [self.address(key, name) for key in ("1", "2", "3") for name in ("", "a")]
        missing = self.address("4")
        for address in addresses:
            await self.write(address, Record([address.name, address.key], Decimal("1.5")))
        records = await self.read_many([*addresses, missing])
        self.assertEqual(set(records), set(addresses))
        for address in addresses:
            self.assertEqual(records[address], await self.read(address))

    async def test_of_many_that_are_read_at_once_the_expired_are_not_shown(self) -> None:
        self.needs("read_many")
        self.needs_kept("expiries")
        expired, live = self.address("1"), self.address("2")
        await self.write(expired, expired_record())
        await self.write(live, Record("live"))
        records = await self.read_many([expired, live])
        self.assertEqual(records[live].value, "live")
        self.assertIsNone(records[expired].value if expired in records else None)

    async def test_nothing_is_read_and_written_at_once(self) -> None:
        self.needs("read_many")
        self.needs("write_many")
        self.assertEqual(dict(await self.read_many([])), {})
        self.assertEqual(list(await self.write_many([])), [])

    async def test_many_are_written_at_once(self) -> None:
        self.needs("write_many")
        changed, deleted, created, missing = map(self.address, ("1", "2", "3", "4"))
        first, second = [await self.write(address, Record("old")) for address in (changed, deleted)]
        revisions = await self.write_many(
            [
                (changed, Record("new", revision=first)),
                (deleted, Record(None, revision=second)),
                (created, Record("new", Decimal("1.5"), revision=None)),
                (missing, Record(None, revision=ANY)),
            ]
        )
        self.assertEqual([revision is None for revision in revisions], [False, True, False, True])
        for address, revision in zip((changed, created), (revisions[0], revisions[2]), strict=True):
            record = await self.read(address)
            assert record is not None
            self.assertEqual((record.value, record.revision), ("new", revision))
        for address in (deleted, missing):
            self.assertIsNone(await self.read(address))

    async def test_of_many_changes_all_are_made_or_none(self) -> None:
        self.needs("write_many")
        self.needs_detects_conflicts()
        old = await self.write(self.address("changed"), Record("old"))
        new = await self.write(self.address("changed"), Record("new", revision=old))
        kept = await self.write(self.address("kept"), Record("kept"))
        fine = [
            (self.address("kept"), Record("lost", revision=kept)),
            (self.address("created"), Record("created")),
        ]
        refused = {
            "a late write": (self.address("changed"), Record("late", revision=old)),
            "a late delete": (self.address("changed"), Record(None, revision=old)),
            "a second creation": (self.address("changed"), Record("second")),
            "a write of what is gone": (self.address("gone"), Record("risen", revision=new)),
        }
        for reason, change in refused.items():
            for changes in ([*fine, change], [change, *fine]):
                with self.subTest(reason, position=changes.index(change)):
                    await self.assert_refused(self.write_many(changes))
                    await self.assert_holds(self.address("kept"), "kept")
                    await self.assert_holds(self.address("changed"), "new")
                    self.assertIsNone(await self.read(self.address("created")))
                    self.assertIsNone(await self.read(self.address("gone")))

    # A chat that becomes another chat.

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

    # What the tests are written with.

    @cached_property
    def storage(self) -> FullStorage:
        return cast("FullStorage", self.make_storage())

    @cached_property
    def bot(self) -> str:
        return f"contract-{uuid.uuid4().hex}"

    def address(self, key: str, name: str = "") -> Address:
        return Address(self.bot, name, key)

    async def read(self, address: Address) -> Record | None:
        record: Record | None = await awaited(self.storage.read, address)
        return record

    async def read_as_one_of_many(self, address: Address) -> Record | None:
        found = await self.read_many([address, self.address("not stored")])
        return next(iter(found.values()), None)  # An unusable address cannot be looked up.

    async def read_revision(self, address: Address) -> Revision:
        record = await self.read(address)
        return None if record is None else record.revision

    async def write(self, address: Address, record: Record) -> int:
        revision: int = await awaited(self.storage.write, address, record)
        return revision

    async def delete(self, address: Address, revision: Revision) -> None:
        await awaited(self.storage.delete, address, revision)

    async def renew(self, address: Address, record: Record) -> None:
        await awaited(cast("RenewingStorage", self.storage).renew, address, record)

    async def read_many(self, addresses: list[Address]) -> Mapping[Address, Record]:
        records: Mapping[Address, Record] = await awaited(self.storage.read_many, addresses)
        return records

    async def write_many(self, changes: Changes) -> list[int | None]:
        revisions: list[int | None] = await awaited(self.storage.write_many, changes)
        return revisions

    async def move(self, moves: list[Move]) -> int:
        moved: int = await awaited(self.storage.move, moves)
        return moved

    async def assert_holds(self, address: Address, value: Json) -> None:
        record = await self.read(address)
        assert record is not None, f"Nothing is stored at {address}."
        self.assertEqual(record.value, value)
        self.assertEqual(truth_values(record.value), truth_values(value))

    async def assert_refused(self, change: Any) -> None:
        with self.assertRaises(SessionConflict):
            await change

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

    async def assert_raises_if_broken(
        self,
        operation: Callable[[Address], Awaitable[Any]],
        address: Address,
        does_it: Callable[[Any], Awaitable[bool]],
    ) -> None:
        """Assert that an operation raises where it cannot do what it is for."""
        if broken := self.make_broken_storage():
            working, self.storage = self.storage, cast("FullStorage", broken)
            try:
                with self.assertRaises(Exception):  # noqa: B017 (whatever the store raises)
                    await operation(address)
            finally:
                self.storage = working
            return
        results = []
        for unusable_address in unusable(peel(self.storage)[1], address):
            try:
                result = await operation(unusable_address)
            except Exception:  # noqa: S112 (as it has to be)
                continue
            results.append(result)
        for result in results:
            self.assertTrue(await does_it(result), f"{self.innermost} has swallowed an error.")

    def needs_detects_conflicts(self) -> None:
        if not getattr(self.storage, "detects_conflicts", False):
            self.skipTest(f"{self.innermost} does not detect conflicts.")

    def needs_kept(self, what: str) -> None:
        if not getattr(self, f"keeps_{what}"):
            self.skipTest(f"{type(self.storage).__name__} sets {what} itself.")

    def needs(self, ability: str) -> None:
        if not hasattr(peel(self.storage)[1], ability):
            self.skipTest(f"{self.innermost} has no {ability}().")

    @property
    def innermost(self) -> str:
        """The name of the storage under test, without what is around it."""
        return type(peel(self.storage)[1]).__name__


def expired_record() -> Record:
    return Record("expired", expires_at=utcnow() - timedelta(seconds=1))


def truth_values(value: Json) -> Any:
    """Return the same structure with ``True`` where a truth value is: ``0 == False`` in Python."""
    if isinstance(value, dict):
        return {name: truth_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [truth_values(item) for item in value]
    return isinstance(value, bool)
