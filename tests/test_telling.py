"""Sweeps tell of sessions that have expired and that no bot has read since."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from botsessions import enhance_storage, multi_session, session
from botsessions.maintenance import Failure, Sweep
from botsessions.models import BotSession
from botsessions.signals import session_expired
from botsessions.storages import Address, DatabaseStorage, ExpiryContext
from botsessions.testing import BotClient
from project.settings import DATABASE

from .commands import TIMEOUT, manage, output
from .servers import wait_until
from .tables import Tables

HOUR = timedelta(hours=1)


def counting() -> dict[str, int]:
    return {"count": 0}


def built(builder: Any) -> Any:
    return builder.build()


@contextmanager
def shop(declared: Any, application: Any = "never.built") -> Iterator[None]:
    """Let the settings have one bot with this session."""
    bots = {"shop": {"SESSION": declared, "APPLICATION": application}}
    with override_settings(BOTSESSIONS={"BOTS": bots}):
        yield


def hearing(on_expire: Callable[..., Any], **options: Any) -> Any:
    return session(initial=counting, storage=enhance_storage(on_expire=on_expire, **options))


def make(key: str, *, bot: str = "shop", name: str = "", ago: timedelta = HOUR) -> BotSession:
    return BotSession.objects.create(
        bot=bot, name=name, key=key, data={"count": 5}, expires_at=timezone.now() - ago
    )


def sweep(**options: Any) -> tuple[int, list[Failure]]:
    """Return how many sessions were deleted, and the failures."""
    limit = options.pop("limit", None)
    batches = list(Sweep(**options).run(BotSession, "default", limit=limit))
    return sum(batch.done for batch in batches), [f for b in batches for f in b.failures]


def left() -> set[str]:
    return set(BotSession.objects.values_list("key", flat=True))


class Told(TestCase):
    def setUp(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def hear(self, key: str, data: Any) -> None:
        self.told.append((key, data))

    async def hear_later(self, key: str, data: Any) -> None:
        await asyncio.sleep(0)
        self.hear(key, data)

    def test_what_expired_while_the_bot_was_down_is_told_once(self) -> None:
        for on_expire in (self.hear, self.hear_later):
            with self.subTest(on_expire.__name__):
                declared = hearing(on_expire)
                make("42")
                make("43", ago=-HOUR)
                with shop(declared):
                    assert sweep() == (1, [])
                    assert sweep() == (0, [])
                    with declared.edit("42") as data:
                        data["count"] += 1
                assert self.told == [("42", {"count": 5})]
                BotSession.objects.all().delete()
                self.told.clear()

    def test_on_expire_may_use_the_orm(self) -> None:
        def note(key: str, data: Any) -> None:
            BotSession.objects.create(bot="lost", key=key, data=data)

        make("42")
        with shop(hearing(note)):
            assert sweep() == (1, [])
        assert [row.bot for row in BotSession.objects.all()] == ["lost"]

    def test_each_fragment_is_told_by_its_own_storage(self) -> None:
        for name in ("basket", "visit", "profile"):
            make("42", name=name)
        declared = multi_session(
            basket=hearing(lambda key, data: self.told.append(("basket", key))),
            visit=hearing(lambda key, data: self.told.append(("visit", key))),
            profile=session(initial=counting),
        )
        with shop(declared):
            assert sweep() == (3, [])
        assert sorted(self.told) == [("basket", "42"), ("visit", "42")]

    def test_receivers_of_the_signal_hear_of_every_bot(self) -> None:
        heard = []

        def receive(sender: Any, bot: str, name: str, key: str, data: Any, **named: Any) -> None:
            heard.append((sender, bot, name, key, data))

        make("42")
        make("43", bot="no longer there", name="basket")
        session_expired.connect(receive)
        try:
            with shop(hearing(self.hear)):
                assert sweep() == (2, [])
        finally:
            session_expired.disconnect(receive)
        assert sorted(heard, key=str) == [
            (DatabaseStorage, "no longer there", "basket", "43", {"count": 5}),
            (DatabaseStorage, "shop", "", "42", {"count": 5}),
        ]
        assert self.told == [("42", {"count": 5})]

    def test_idle_sessions_are_told_of_only_if_they_have_expired(self) -> None:
        make("idle", ago=-HOUR)
        make("both")
        make("lasting")
        BotSession.objects.filter(key="lasting").update(expires_at=None)
        BotSession.objects.update(updated_at=timezone.now() - timedelta(days=100))
        with shop(hearing(self.hear)):
            assert sweep(idle_for=timedelta(days=90), batch_size=1) == (3, [])
        assert self.told == [("both", {"count": 5})]

    def test_on_expire_gets_what_it_takes_to_send_a_message(self) -> None:
        contexts: list[ExpiryContext] = []

        async def tell(key: str, data: Any, context: ExpiryContext) -> None:
            contexts.append(context)
            assert context.chat_id
            await context.bot.send_message(context.chat_id, f"{data['count']} pizzas are gone.")

        def tell_from_a_thread(key: str, data: Any, context: ExpiryContext) -> None:
            async_to_sync(tell)(key, data, context)

        for on_expire in (tell, tell_from_a_thread):
            with self.subTest(on_expire.__name__), shop(hearing(on_expire), built):
                maria = BotClient().user("Maria")
                make(f"user {maria.id}")
                BotSession.objects.update(chat_id=maria.id, user_id=7)
                assert sweep() == (1, [])
                assert maria.messages[-1].text == "5 pizzas are gone."
        assert {(c.alias, c.name, c.user_id) for c in contexts} == {("shop", "", 7)}

    def test_of_several_bots_the_one_tells_whose_session_has_expired(self) -> None:
        async def tell(key: str, data: Any, context: ExpiryContext) -> None:
            await context.bot.send_message(int(key), f"From {context.alias}")

        bot = {"SESSION": multi_session(basket=hearing(tell)), "APPLICATION": built}
        with override_settings(BOTSESSIONS={"BOTS": {"shop": bot, "cafe": bot}}):
            people = {alias: BotClient(alias).user(id=9) for alias in ("shop", "cafe")}
            for alias in people:
                make("9", bot=alias, name="basket")
            assert sweep() == (2, [])
        for alias, person in people.items():
            assert [message.text for message in person.messages] == [f"From {alias}"]

    def test_without_a_token_in_this_process_the_sweep_says_so(self) -> None:
        async def tell(key: str, data: Any, context: ExpiryContext) -> None:
            raise NotImplementedError

        make("42", bot="kiosk")  # A client of another test may be one of the shop's still.
        bots = {"kiosk": {"SESSION": hearing(tell), "APPLICATION": built}}
        with override_settings(BOTSESSIONS={"BOTS": bots}):
            done, (failure,) = sweep()
        assert done == 0
        assert "['kiosk']['TOKEN'] is not set in this process: give it the env" in failure.reason

    def test_one_that_cannot_be_told_stays_and_is_named_and_the_others_go_on(self) -> None:
        def fail(key: str, data: Any) -> None:
            self.hear(key, data)
            if key == "13":
                raise LookupError("4242-secret")

        for key in ("12", "13", "14", "15"):
            make(key)
        with shop(hearing(fail)):
            for deleted in (3, 0):
                done, (failure,) = sweep(batch_size=2)
                assert done == deleted
                assert failure.address == Address("shop", "", "13")
                assert failure.reason == "Who was told that it has expired raised LookupError."
                assert "tests/test_telling.py, line" in failure.told
        assert left() == {"13"}
        assert Counter(key for key, _ in self.told) == {"12": 1, "13": 2, "14": 1, "15": 1}

    def test_one_that_is_renewed_or_written_anew_meanwhile_is_not_told(self) -> None:
        def change_the_others(key: str, data: Any) -> None:
            self.hear(key, data)
            others = BotSession.objects.exclude(key=key)
            others.filter(key__startswith="a").update(expires_at=timezone.now() + HOUR)
            for row in others.filter(key__startswith="b"):
                row.delete()
                BotSession.objects.create(bot=row.bot, key=row.key, data={"count": 6})

        for key in ("a1", "a2", "b1", "b2"):
            make(key)
        with shop(hearing(change_the_others)):
            assert sweep() == (1, [])
        ((told, _),) = self.told
        assert left() == {"a1", "a2", "b1", "b2"} - {told}

    def test_one_that_is_written_while_it_is_told_stays(self) -> None:
        def edit(key: str, data: Any) -> None:
            with declared.edit(key) as new:
                new["count"] += 1

        declared = hearing(edit)
        make("42")
        with shop(declared):
            sweep()
        assert BotSession.objects.get().data == {"count": 1}

    def test_a_limit_and_the_bot_and_fragment_are_kept(self) -> None:
        for key in range(5):
            make(str(key))
        make("other", bot="other")
        with shop(hearing(self.hear)):
            assert sweep(limit=2, bot="shop", batch_size=10) == (2, [])
            assert sweep(name="basket") == (0, [])
            assert sweep(limit=2) == (2, [])
        assert len(self.told) == 3
        assert "other" not in left()


BATCH = ["SELECT", "SELECT", "SELECT", "DELETE"]
"""What is next, who holds it, what nobody has locked, and its deletion."""
QUIET = [*BATCH, *BATCH, "SELECT"]


class Costs(TestCase):
    """Of a sweep, in statements."""

    def test_nobody_who_hears_costs_nothing(self) -> None:
        for key in range(6):
            make(str(key))
        declared = session(initial=counting, storage=enhance_storage(time_to_live=HOUR))
        assert self.statements(declared) == QUIET

    def test_sessions_of_which_nobody_hears_are_deleted_in_batches_as_ever(self) -> None:
        for key in range(6):
            make(str(key), name="quiet")
        declared = multi_session(
            quiet=session(initial=counting), loud=hearing(lambda key, data: None)
        )
        assert self.statements(declared) == [*QUIET, "SELECT"]

    def test_one_that_is_told_costs_two(self) -> None:
        for key in range(3):
            make(str(key))
        made = self.statements(hearing(lambda key, data: None))
        assert made == ["SELECT", "SELECT", "SELECT", *["SELECT", "DELETE"] * 3, "SELECT"]

    def test_data_that_is_not_told_is_not_loaded(self) -> None:
        make("42")
        with CaptureQueriesContext(connection) as queries:
            self.statements(session(initial=counting))
        assert not any("data" in query["sql"].partition("FROM")[0] for query in queries)

    def statements(self, declared: Any) -> list[str]:
        with shop(declared), CaptureQueriesContext(connection) as queries:
            sweep(batch_size=3)
        return [query["sql"].split()[0] for query in queries]


class AtOnce(TransactionTestCase):
    def test_two_sweeps_tell_of_all_and_one_seldom_twice(self) -> None:
        told: list[str] = []
        both = threading.Barrier(2, timeout=TIMEOUT)

        def hear(key: str, data: Any) -> None:
            told.append(key)

        def run(number: int) -> int:
            with closing(connections["default"]):
                both.wait()
                return sweep()[0]

        for key in range(100):
            make(str(key))
        with shop(hearing(hear)), ThreadPoolExecutor(2) as pool:
            deleted = sum(pool.map(run, range(2)))
        assert set(told) == {str(key) for key in range(100)}
        assert left() == set()
        assert deleted == len(told)

    def test_a_bot_waits_while_a_sweep_tells_and_what_it_writes_is_kept(self) -> None:
        told, hold = [], threading.Event()
        telling = threading.Event()

        def hear(key: str, data: Any) -> None:
            told.append(threading.current_thread().name)
            if threading.current_thread().name == "sweep":
                telling.set()
                assert hold.wait(TIMEOUT)

        def run() -> None:
            with closing(connections["default"]):
                sweep()

        def edit() -> None:
            with closing(connections["default"]), declared.edit("42") as data:
                data["count"] += 1

        make("42")
        declared = hearing(hear)
        with shop(declared):
            threads = [threading.Thread(target=run, name="sweep"), threading.Thread(target=edit)]
            threads[0].start()
            try:
                assert telling.wait(TIMEOUT)
                threads[1].start()
            finally:
                hold.set()
                for thread in threads:
                    thread.join(TIMEOUT)
        assert told == ["sweep"]
        assert BotSession.objects.get().data == {"count": 1}


def test_a_sweep_that_is_killed_between_telling_and_deleting_tells_again_and_loses_nothing(
    tmp_path: Path, django_db_blocker: Any
) -> None:
    name = str(tmp_path / "db.sqlite3") if DATABASE == "sqlite" else f"telling_{uuid4().hex}"
    told = tmp_path / "told"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.bots.settings",
        "BOTSESSIONS_DATABASE_NAME": name,
        "BOTS": json.dumps({"shop": {"SESSION": "tests.bots.baskets.baskets"}}),
        "TOLD": str(told),
    }
    with django_db_blocker.unblock(), Tables(name).made() as tables:
        fill(tables, 20)
        killed = manage("sweep_sessions", env=environment | {"HANG_AT": "5"})
        try:
            wait_until(lambda: told.exists() and len(lines(told)) == 5, lambda: "not told")
        finally:
            killed.kill()
            killed.communicate(timeout=TIMEOUT)
        deleted = 0
        while deleted < 16:  # The key that the killed one held is free again soon.
            said = json.loads(output(manage("sweep_sessions", "--json", env=environment)))
            deleted += said["deleted"]
        assert deleted == 16
    assert len(lines(told)) == 21
    assert dict(lines(told)) == {str(n): {"number": n} for n in range(20)}


def lines(told: Path) -> list[Any]:
    return [json.loads(line) for line in told.read_text().splitlines()]


def fill(tables: Tables, count: int) -> None:
    """Store sessions that have expired."""
    quote = tables.connection.ops.quote_name
    columns = ("bot", "name", "key", "data", "revision", "size", "expires_at", "created_at")
    columns += ("updated_at", "chat_type", "title")
    sql = (
        f"INSERT INTO botsessions_botsession ({', '.join(map(quote, columns))}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(columns))})"
    )
    past = "2026-01-01 00:00:00"
    with tables.connection.cursor() as cursor:
        for number in range(count):
            data = json.dumps({"number": number})
            row = ("shop", "", str(number), data, number, 9, past, past, past, "", "")
            cursor.execute(sql, row)
