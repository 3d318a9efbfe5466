"""A batch of requests as statements: what each comes to, whatever the others come to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from django.db import DatabaseError, connection, connections, transaction
from django.test import TransactionTestCase

from botsessions.database.batch import Locked, carry_out, is_waiting
from botsessions.database.changes import Change
from botsessions.database.claims import AlreadyHandled, Claim, ClaimedElsewhere
from botsessions.database.errors import Trouble, trouble_of
from botsessions.database.execution import execute
from botsessions.database.lease import Ending, Lease
from botsessions.database.options import our_connection
from botsessions.database.requests import Extension, Note, NotHeldYet, Read, Request, Write
from botsessions.database.sessions_table import Table
from botsessions.exceptions import SessionConflict
from botsessions.models import BotSession, BotSessionLease, HandledUpdate
from botsessions.records import new_revision, utcnow
from botsessions.storages import ANY, Address, Record

from .statements import noted_statements
from .test_storages import Nowhere

PEOPLE = [Address("pizza", "", str(number)) for number in range(8)]
TABLE = Table(BotSession, "default")
TOO_LONG = Address("p" * 65, "", "42")


def reading(*addresses: Address, lease: Lease | None = None, claim: Claim | None = None) -> Read:
    return Read({TABLE: addresses} if addresses else {}, lease, claim)


def change(address: Address, value: Any, revision: Any = None) -> Change:
    return Change(address, Record(value, revision=revision), new_revision())


def writing(*changes: Change, **under: Any) -> Write:
    return Write({TABLE: changes} if changes else {}, **under)


def new_lease(*addresses: Address) -> Lease:
    return Lease("default", addresses or PEOPLE[:1])


def kinds(outcomes: Sequence[Any]) -> list[Any]:
    return [type(outcome) for outcome in outcomes]


class Base(TransactionTestCase):
    def come_to(self, *requests: Request, singly: bool = False) -> list[Any]:
        here = connections["default"]
        return execute(here, carry_out(requests, here, singly=singly))

    def store(self, *addresses: Address, value: Any = 1) -> dict[Address, Any]:
        """Store sessions and return their revisions."""
        changes = [change(address, value) for address in addresses]
        assert self.come_to(*map(writing, changes)) == [None] * len(changes)
        return {change.address: change.revision for change in changes}

    @property
    def stored(self) -> dict[str, Any]:
        return dict(BotSession.objects.order_by("key").values_list("key", "data"))


class ReadingAndWriting(Base):
    def test_each_read_gets_what_it_has_asked_for(self) -> None:
        self.store(*PEOPLE[:3])
        one, two, none, nothing = self.come_to(
            reading(PEOPLE[0]),
            reading(PEOPLE[1], PEOPLE[2], PEOPLE[5]),
            reading(PEOPLE[6]),
            Read({}),
        )
        assert [set(found) for found in (one, two, none, nothing)] == [
            {PEOPLE[0]},
            {PEOPLE[1], PEOPLE[2]},
            set(),
            set(),
        ]
        assert one[PEOPLE[0]].value == 1

    def test_several_tables_are_read_at_once(self) -> None:
        self.store(PEOPLE[0])
        other = Table(BotSession, "default")  # Equal, but not the same.
        found = self.come_to(Read({TABLE: PEOPLE[:1]}), Read({other: PEOPLE[:2]}))
        assert [set(some) for some in found] == [{PEOPLE[0]}] * 2

    def test_it_is_written_before_it_is_read(self) -> None:
        outcomes = self.come_to(reading(PEOPLE[0]), writing(change(PEOPLE[1], 1)))
        assert outcomes == [{}, None]
        revisions = self.store(PEOPLE[0])
        found, made = self.come_to(
            reading(PEOPLE[1]), writing(change(PEOPLE[0], 2, revisions[PEOPLE[0]]))
        )
        assert (found[PEOPLE[1]].value, made) == (1, None)

    def test_a_single_change_that_conflicts_fails_alone(self) -> None:
        revisions = self.store(*PEOPLE[:3])
        attempts = [
            change(PEOPLE[0], 2, revisions[PEOPLE[0]]),
            change(PEOPLE[1], 2, 1),
            change(PEOPLE[2], None, 1),
            change(PEOPLE[3], 2),
            change(PEOPLE[4], 2, ANY),
        ]
        outcomes = self.come_to(*map(writing, attempts))
        assert kinds(outcomes) == [
            *(type(None), SessionConflict, SessionConflict, type(None), type(None))
        ]
        assert "'1'" in str(outcomes[1])
        assert "'2'" in str(outcomes[2])
        assert self.stored == {"0": 2, "1": 1, "2": 1, "3": 2, "4": 2}

    def test_of_several_changes_of_one_request_all_are_made_or_none(self) -> None:
        revisions = self.store(*PEOPLE[:2])
        good = writing(change(PEOPLE[0], 2, revisions[PEOPLE[0]]), change(PEOPLE[3], 2))
        bad = writing(change(PEOPLE[1], 2, 1), change(PEOPLE[4], 2))
        outcomes = self.come_to(good, bad)
        assert kinds(outcomes) == [type(None), SessionConflict]
        assert "'1'" in str(outcomes[1])
        assert self.stored == {"0": 2, "1": 1, "3": 2}
        (outcome,) = self.come_to(bad)
        assert isinstance(outcome, SessionConflict)

    def test_those_of_several_requests_are_one_transaction_as_long_as_none_conflicts(self) -> None:
        revisions = self.store(*PEOPLE[:3])

        def save(known: Address, new: Address) -> Write:
            return writing(change(known, 2, revisions[known]), change(new, 2))

        with noted_statements(lambda sql: sql.split()[0]) as of_one:
            self.come_to(save(PEOPLE[0], PEOPLE[3]))
        saves = [save(known, new) for known, new in zip(PEOPLE[1:3], PEOPLE[4:6], strict=True)]
        with noted_statements(lambda sql: sql.split()[0]) as of_two:
            assert self.come_to(*saves) == [None, None]
        assert of_two == of_one
        lone, late = writing(change(PEOPLE[6], 2)), writing(change(PEOPLE[0], 3, 1))
        more = [writing(*(change(Address("pizza", k, str(n)), 2) for n in "12")) for k in "ab"]
        outcomes = self.come_to(lone, *more, late)
        assert kinds(outcomes) == [*[type(None)] * 3, SessionConflict]

    def test_what_the_database_refuses_fails_alone(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("SQLite does not mind how long a text is.")
        outcomes = self.come_to(
            writing(change(PEOPLE[0], 1)), writing(change(TOO_LONG, 1)), reading(PEOPLE[1])
        )
        assert outcomes[0] is None
        assert isinstance(outcomes[1], DatabaseError)
        assert outcomes[2] == {}
        assert self.stored == {"0": 1}

    def test_what_goes_with_others_into_a_transaction_fails_only_itself(self) -> None:
        self.store(PEOPLE[1])
        broken, whole = new_lease(), new_lease(PEOPLE[1])
        claims = [Claim("pizza", number) for number in (7, 8)]
        outcomes = self.come_to(
            Read({Table(Nowhere, "default"): PEOPLE[:1]}, broken, claims[0]),
            reading(PEOPLE[1], lease=whole, claim=claims[1]),
            reading(PEOPLE[1]),
        )
        assert isinstance(outcomes[0], DatabaseError)
        assert [found[PEOPLE[1]].value for found in outcomes[1:]] == [1, 1]
        assert whole.held
        assert claims[1].is_certain

    def test_a_table_that_is_missing_fails_only_those_who_need_it(self) -> None:
        self.store(PEOPLE[0])
        nowhere = Table(Nowhere, "default")
        outcomes = self.come_to(
            reading(PEOPLE[0]),
            Read({nowhere: PEOPLE[:1]}),
            reading(PEOPLE[1]),
            writing(change(PEOPLE[2], 1)),
            Write({nowhere: [change(PEOPLE[3], 1)]}),
        )
        failed = [isinstance(outcome, DatabaseError) for outcome in outcomes]
        assert failed == [False, True, False, False, True]
        assert set(outcomes[0]) == {PEOPLE[0]}
        assert self.stored == {"0": 1, "2": 1}

    def test_what_may_have_landed_before_is_not_made_twice(self) -> None:
        revisions = self.store(PEOPLE[0])
        again = writing(change(PEOPLE[0], 2, revisions[PEOPLE[0]]))
        assert self.come_to(again) == [None]
        other = writing(change(PEOPLE[1], 1))
        again.tried = other.tried = True
        assert self.come_to(again, other) == [None, None]
        conflicting = writing(change(PEOPLE[0], 3, revisions[PEOPLE[0]]))
        conflicting.tried = True
        assert kinds(self.come_to(conflicting)) == [SessionConflict]
        assert self.stored == {"0": 2, "1": 1}

    def test_singly_all_come_to_the_same(self) -> None:
        revisions = self.store(*PEOPLE[:2])
        outcomes = self.come_to(
            writing(change(PEOPLE[0], 2, revisions[PEOPLE[0]])),
            writing(change(PEOPLE[1], 2, 1)),
            reading(PEOPLE[0]),
            singly=True,
        )
        assert kinds(outcomes) == [type(None), SessionConflict, dict]
        assert outcomes[2][PEOPLE[0]].value == 2

    def test_an_extension_keeps_the_rest_and_one_that_comes_too_late_is_no_error(self) -> None:
        revisions, later = self.store(*PEOPLE[:2]), utcnow()
        outcomes = self.come_to(
            Extension(TABLE, PEOPLE[0], Record(None, None, later, revisions[PEOPLE[0]])),
            Extension(TABLE, PEOPLE[1], Record(None, None, later, 1)),
            writing(change(PEOPLE[1], 1, 1)),
        )
        assert kinds(outcomes) == [type(None), type(None), SessionConflict]
        rows = BotSession.objects.order_by("key")
        assert [row.expires_at for row in rows] == [later, None]
        assert [row.revision for row in rows] == list(revisions.values())

    def test_requests_of_a_kind_are_one_statement(self) -> None:
        revisions = self.store(*PEOPLE[:4])
        with noted_statements(lambda sql: sql.split()[0]) as made:
            self.come_to(
                *(writing(change(address, 2, revisions[address])) for address in PEOPLE[:4]),
                *(writing(change(address, 1)) for address in PEOPLE[4:]),
                *map(reading, PEOPLE),
            )
        assert sorted(made) == ["INSERT", "SELECT", "UPDATE"]


class Steps(Base):
    """Where the server takes statements side by side, all that can go together does."""

    def steps_of(self, *requests: Request) -> int:
        """Return after how many answers the work has gone on."""
        here, steps = connections["default"], []

        def noting(work: Any) -> Any:
            try:
                wanted = next(work)
                while True:
                    steps.append(wanted)
                    wanted = work.send((yield wanted))
            except StopIteration as end:
                return end.value

        outcomes = execute(here, noting(carry_out(requests, here)))
        assert not any(isinstance(outcome, Exception) for outcome in outcomes)
        return len(steps)

    def assert_steps(self, together: int, one_by_one: int, *requests: Request) -> None:
        expected = together if connection.vendor == "postgresql" else one_by_one
        assert self.steps_of(*requests) == expected

    def test_what_depends_on_nothing_goes_in_one(self) -> None:
        revisions = self.store(*PEOPLE[:2])
        update = writing(change(PEOPLE[0], 2, revisions[PEOPLE[0]]))
        extension = Extension(TABLE, PEOPLE[1], Record(None, None, utcnow(), revisions[PEOPLE[1]]))
        requests = [update, writing(change(PEOPLE[2], 1)), extension, reading(*PEOPLE[:3])]
        self.assert_steps(1, 4, *requests)

    def test_a_lease_and_a_claim_are_taken_with_the_read(self) -> None:
        fresh = reading(PEOPLE[0], lease=new_lease(), claim=Claim("pizza", 7))
        self.assert_steps(1, 3, fresh, reading(PEOPLE[1]))


class Locks(Base):
    def test_what_somebody_else_has_locked_is_said_to_be_and_holds_nobody_up(self) -> None:
        revisions = self.store(*PEOPLE[:3])
        requests = [writing(change(a, 2, revision)) for a, revision in revisions.items()]
        ours = our_connection("default")
        self.addCleanup(ours.close)
        with transaction.atomic():
            BotSession.objects.filter(key="1").update(size=5)
            with noted_statements(lambda sql: sql.split()[0]) as made:
                outcomes = execute(ours, carry_out(requests, ours))
        is_all_locked = connection.vendor == "sqlite"  # There is one lock for the whole database.
        others = Locked if is_all_locked else type(None)
        assert kinds(outcomes) == [others, Locked, others]
        assert trouble_of(outcomes[1].error) is Trouble.LOCKED
        if is_all_locked:  # So it is not tried one by one.
            assert made.count("UPDATE") == 1
        expected = [1, 1, 1] if is_all_locked else [2, 1, 2]
        assert list(self.stored.values()) == expected
        assert self.come_to(requests[1]) == [None]


class Leases(Base):
    def test_a_read_takes_the_lease_and_the_last_write_gives_it_back(self) -> None:
        lease = new_lease()
        assert self.come_to(reading(PEOPLE[0], lease=lease)) == [{}]
        assert lease.held
        made = change(PEOPLE[0], 1)
        assert self.come_to(writing(made, lease=lease, ending=Ending.GIVEN_BACK)) == [None]
        assert (lease.held, lease.is_over) == (False, True)
        assert self.come_to(reading(PEOPLE[0], lease=new_lease()))[0][PEOPLE[0]].value == 1

    def test_who_finds_it_with_somebody_else_reads_nothing_and_others_go_on(self) -> None:
        self.store(*PEOPLE[:2])
        holder, waiting, other = new_lease(), new_lease(), new_lease(PEOPLE[1])
        self.come_to(reading(PEOPLE[0], lease=holder))
        numbers: dict[int, int] = {}
        for _ in range(2):
            outcomes = self.come_to(
                reading(PEOPLE[0], lease=waiting),
                reading(PEOPLE[1], lease=other),
                reading(PEOPLE[0]),
            )
            assert waiting.numbers
            assert (numbers or waiting.numbers) == waiting.numbers  # It keeps its place.
            numbers = {**waiting.numbers}
            assert kinds(outcomes) == [NotHeldYet, dict, dict]
            assert outcomes[1][PEOPLE[1]].value == outcomes[2][PEOPLE[0]].value == 1
        assert not waiting.held
        assert other.held
        self.come_to(writing(lease=holder, ending=Ending.GIVEN_BACK))
        (found,) = self.come_to(reading(PEOPLE[0], lease=waiting))
        assert found[PEOPLE[0]].value == 1
        assert waiting.held

    def test_whether_it_may_be_had_at_once_is_known_in_advance(self) -> None:
        fresh, several, drawn = new_lease(), new_lease(*PEOPLE[:2]), new_lease()
        drawn.numbers = {drawn.keys[0]: 7}
        reads = [reading(PEOPLE[0], lease=lease) for lease in (None, fresh, several, drawn)]
        assert [is_waiting(read) for read in reads] == [False, False, True, True]

    def test_of_two_that_want_the_same_one_gets_it(self) -> None:
        outcomes = self.come_to(*(reading(PEOPLE[0], lease=new_lease()) for _ in range(2)))
        assert kinds(outcomes) == [dict, NotHeldYet]

    def test_several_keys_are_taken_together_or_not_at_all(self) -> None:
        self.store(*PEOPLE[:2])
        holder, several = new_lease(PEOPLE[1]), new_lease(*PEOPLE[:2])
        self.come_to(reading(PEOPLE[1], lease=holder))
        for _ in range(2):
            assert kinds(self.come_to(reading(*PEOPLE[:2], lease=several))) == [NotHeldYet]
        assert not several.held
        self.come_to(writing(lease=holder, ending=Ending.GIVEN_BACK))
        (found,) = self.come_to(reading(*PEOPLE[:2], lease=several))
        assert set(found) == set(PEOPLE[:2])

    def test_one_that_nobody_wants_any_more_is_not_taken(self) -> None:
        lease = new_lease()
        lease.given_up = True
        assert kinds(self.come_to(reading(PEOPLE[0], lease=lease))) == [NotHeldYet]
        assert not lease.held
        assert not BotSessionLease.objects.filter(holder=lease.holder).exists()

    def test_one_that_is_given_up_meanwhile_fails_nobody_else(self) -> None:
        def giving_up(work: Any) -> Any:
            """Give the lease up just before the statements of a step are sent."""
            answers = None
            for step in count():
                try:
                    statements = next(work) if answers is None else work.send(answers)
                except StopIteration as end:
                    return end.value
                lease.given_up = step >= given_up_at
                answers = yield statements

        for given_up_at in range(6):
            with self.subTest(given_up_at=given_up_at):
                BotSessionLease.objects.all().delete()
                lease, here = new_lease(*PEOPLE[:2]), connections["default"]
                other = change(PEOPLE[2], given_up_at, ANY)
                requests = [reading(*PEOPLE[:2], lease=lease), reading(PEOPLE[0]), writing(other)]
                left, found, written = execute(here, giving_up(carry_out(requests, here)))
                assert left == {} or isinstance(left, NotHeldYet)
                assert (found, written) == ({}, None)

    def test_who_has_lost_it_changes_nothing_and_others_do(self) -> None:
        revisions = self.store(*PEOPLE[:2])
        lost, held = new_lease(), new_lease(PEOPLE[1])
        self.come_to(reading(PEOPLE[0], lease=lost), reading(PEOPLE[1], lease=held))
        BotSessionLease.objects.filter(pk=lost.keys[0]).update(holder=1)
        outcomes = self.come_to(
            *(
                writing(change(address, 2, revisions[address]), lease=lease)
                for address, lease in zip(PEOPLE, (lost, held), strict=False)
            )
        )
        assert kinds(outcomes) == [SessionConflict, type(None)]
        assert outcomes[0].cut_off
        assert self.stored == {"0": 1, "1": 2}


class Claims(Base):
    def test_an_update_is_claimed_by_the_read_and_noted_by_the_last_write(self) -> None:
        claim = Claim("pizza", 7)
        assert self.come_to(reading(PEOPLE[0], claim=claim)) == [{}]
        assert claim.is_certain
        made = writing(change(PEOPLE[0], 1), claim=claim, is_last=True)
        assert self.come_to(made) == [None]
        assert claim.is_over
        outcomes = self.come_to(reading(PEOPLE[0], claim=Claim("pizza", 7)), reading(PEOPLE[0]))
        assert kinds(outcomes) == [AlreadyHandled, dict]

    def test_who_comes_second_is_told_and_others_are_read(self) -> None:
        self.come_to(reading(PEOPLE[0], claim=Claim("pizza", 7)))
        outcomes = self.come_to(
            reading(PEOPLE[3]),
            reading(PEOPLE[0], claim=Claim("pizza", 7)),
            reading(PEOPLE[1], claim=Claim("pizza", 8)),
            reading(PEOPLE[2], claim=Claim("pasta", 7)),
        )
        assert kinds(outcomes) == [dict, ClaimedElsewhere, dict, dict]
        assert 0 < outcomes[1].seconds <= 10

    def test_of_two_at_the_same_moment_one_gets_it(self) -> None:
        one, other = Claim("pizza", 7), Claim("pizza", 7)
        outcomes = self.come_to(reading(PEOPLE[0], claim=one), reading(PEOPLE[0], claim=other))
        assert kinds(outcomes) == [dict, ClaimedElsewhere]
        assert one.is_certain
        assert not other.is_had
        assert outcomes[1].seconds == 0

    def test_notes_say_whether_the_update_was_ours(self) -> None:
        ours, lost = Claim("pizza", 7), Claim("pizza", 8)
        self.come_to(reading(claim=ours), reading(claim=lost))
        HandledUpdate.objects.filter(update_id=8).update(claim=1)
        assert self.come_to(Note(ours), Note(lost)) == [True, False]
        assert ours.is_over
        assert lost.is_over
        handled = HandledUpdate.objects.exclude(handled_at=None)
        assert list(handled.values_list("update_id", flat=True)) == [7]
