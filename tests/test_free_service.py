"""The free storage that a project offers, request by request, and our own client of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import (
    Client,
    LiveServerTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from botsessions import session
from botsessions.models import BotSession
from botsessions.storages import FreeStorage, Storage
from botsessions.testing import StorageContract

from .caches import LOCAL_MEMORY
from .strategies import strict_json

TOKEN, OTHER_TOKEN, UNSERVED_TOKEN = "123:ABC", "456:DEF", "789:GHI"
BOTS: dict[str, Any] = {
    "node": {"TOKEN": TOKEN, "FREE_STORAGE": True},
    "other": {"TOKEN": OTHER_TOKEN, "FREE_STORAGE": True},
    "unserved": {
        "TOKEN": UNSERVED_TOKEN,
        "SESSION": "project.bot.pizza",
        "APPLICATION": "project.bot.build",
    },
    "offline": {"TOKEN": None, "FREE_STORAGE": True},
}
REVOKED: dict[str, Any] = {**BOTS, "node": {**BOTS["node"], "TOKEN": "123:NEW"}}
EXPIRY = 4_102_542_245_678

NEW_SESSION = {
    "sqlite": ["SELECT", "SELECT", "INSERT"],
    "postgresql": ["SELECT", "SELECT", "SELECT", "INSERT"],
    "mysql": ["SELECT", "SELECT", "SELECT", "INSERT", "SELECT"],
}[connection.vendor]
"""To see whether it is there, take a place in the queue, count, store; MySQL leaves the queue."""
served = override_settings(
    ROOT_URLCONF="tests.free_storage.urls", BOTSESSIONS={"BOTS": BOTS}, CACHES=LOCAL_MEMORY
)


def limited(bots: Any = BOTS, **limits: int) -> Any:
    return override_settings(BOTSESSIONS={"BOTS": bots, "FREE_STORAGE": limits})


class Node:
    """A client as the npm package is: JSON as plain text, keys not escaped further."""

    def __init__(self, token: str = TOKEN) -> None:
        self.http = Client(enforce_csrf_checks=True)
        self.token = token
        self.credential: str | None = None

    def login(self) -> Any:
        body = json.dumps({"token": self.token})
        answer = self.http.post("/free/login", body, "text/plain;charset=UTF-8")
        if answer.status_code == 201:
            self.credential = answer.json()["token"]
        return answer

    def call(self, method: str, path: str, body: str | bytes = "") -> Any:
        if self.credential is None:
            assert self.login().status_code == 201
        headers = {"Authorization": f"Bearer {self.credential}"}
        kind = "text/plain;charset=UTF-8"
        return self.http.generic(method, f"/free/{path}", body, kind, headers=headers)

    def read(self, key: str) -> Any:
        return self.call("GET", f"session/{key}")

    def write(self, key: str, value: Any) -> Any:
        return self.call("POST", f"session/{key}", json.dumps(value))

    def delete(self, key: str) -> Any:
        return self.call("DELETE", f"session/{key}")


class Service(TestCase):
    def setUp(self) -> None:
        cache.clear()
        self.node = Node()

    def assert_refused(self, answer: Any, status: int) -> None:
        assert answer.status_code == status, answer.content
        assert isinstance(answer.json()["error"], str)
        assert TOKEN not in answer.content.decode()


@served
class LoggingIn(Service):
    def test_a_bots_token_gives_a_credential(self) -> None:
        answer = self.node.login()
        assert answer.status_code == 201
        assert list(answer.json()) == ["token"]
        assert TOKEN not in answer.json()["token"]

    def test_tokens_of_bots_that_are_not_served_are_refused(self) -> None:
        for token in ("123:ABD", UNSERVED_TOKEN, "", "пицца", "\ud800"):
            with self.subTest(token=ascii(token)):
                self.assert_refused(Node(token).login(), 401)

    def test_a_wrong_body_is_refused(self) -> None:
        for body in (b"", b"{", b"[]", b'"123:ABC"', b'{"token": 1}', b"\xff", b"[" * 4000):
            with self.subTest(body[:9]):
                self.assert_refused(self.node.http.post("/free/login", body, "text/plain"), 400)

    def test_calls_without_a_login_are_refused(self) -> None:
        self.node.login()
        credential = self.node.credential
        for header in ("", "Bearer", "Bearer x", f"Basic {credential}", f"Bearer {credential}x"):
            for path in ("session/42", "sessions"):
                with self.subTest(header=header, path=path):
                    headers = {"Authorization": header}
                    answer = self.node.http.get(f"/free/{path}", headers=headers)
                    self.assert_refused(answer, 401)

    def test_a_credential_expires(self) -> None:
        self.node.login()
        with limited(LOGIN_SECONDS=60), mock.patch("django.core.signing.time.time") as time:
            time.return_value = datetime.now(timezone.utc).timestamp() + 50
            assert self.node.read("42").status_code == 404
            time.return_value += 20
            self.assert_refused(self.node.read("42"), 401)

    def test_a_revoked_token_ends_its_credentials(self) -> None:
        self.node.write("42", 1)
        with limited(REVOKED):
            self.assert_refused(self.node.read("42"), 401)
            self.assert_refused(self.node.login(), 401)
            assert Node("123:NEW").read("42").json() == 1

    def test_a_bot_that_is_served_no_more_is_refused(self) -> None:
        self.node.login()
        with limited({}):
            self.assert_refused(self.node.read("42"), 401)

    def test_too_many_logins_from_an_address_are_refused(self) -> None:
        with limited(LOGINS_PER_MINUTE=3), mock.patch("time.time", return_value=1e9):
            assert [self.node.login().status_code for _ in range(3)] == [201] * 3
            answer = self.node.login()
            self.assert_refused(answer, 429)
            assert 0 < int(answer.headers["Retry-After"]) <= 60
            self.node.http.defaults["REMOTE_ADDR"] = "192.0.2.1"
            assert self.node.login().status_code == 201
        with limited(LOGINS_PER_MINUTE=3), mock.patch("time.time", return_value=1e9 + 60):
            assert Node().login().status_code == 201


@served
class Sessions(Service):
    def test_what_was_written_is_read_and_deleted(self) -> None:
        self.assert_refused(self.node.read("42"), 404)
        answer = self.node.write("42", {"pizzaCount": 1})
        assert (answer.status_code, answer.content) == (204, b"")
        answer = self.node.read("42")
        assert (answer.status_code, answer.content) == (200, b'{"pizzaCount":1}')
        for _ in range(2):
            assert self.node.delete("42").status_code == 204
            self.assert_refused(self.node.read("42"), 404)

    def test_keys_are_decoded_once(self) -> None:
        for path, key in [
            ("42/-100", "42/-100"),
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("a//b", "a//b"),
            ("a/", "a/"),
            ("%D0%BF", "п"),
            ("a%0Ab", "a\nb"),
            ("login", "login"),
        ]:
            with self.subTest(path):
                assert self.node.write(path, key).status_code == 204
                assert BotSession.objects.get(key=key).data == key
                assert self.node.read(path).json() == key

    def test_bots_do_not_see_each_other(self) -> None:
        self.node.write("42", "node")
        other = Node(OTHER_TOKEN)
        self.assert_refused(other.read("42"), 404)
        other.write("42", "other")
        other.delete("42")
        assert self.node.read("42").json() == "node"
        assert other.call("GET", "sessions").json() == []

    def test_the_list_is_an_array_of_keys(self) -> None:
        for key in ("b", "a/1", "c"):
            self.node.write(key, 1)
        self.node.write("expired", {"__d": 1, "e": 1})
        assert self.node.call("GET", "sessions").json() == ["a/1", "b", "c"]

    def test_the_list_without_time_zones(self) -> None:
        with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata"):
            self.test_the_list_is_an_array_of_keys()

    def test_null_deletes(self) -> None:
        self.node.write("42", 1)
        assert self.node.write("42", None).status_code == 204
        self.assert_refused(self.node.read("42"), 404)

    def test_anything_else_is_refused_without_a_redirect(self) -> None:
        for method, path, status in [
            ("GET", "", 404),
            ("GET", "session", 404),
            ("GET", "session/", 404),
            ("GET", "sessions/", 404),
            ("POST", "login/", 404),
            ("GET", "login", 405),
            ("PUT", "session/42", 405),
            ("POST", "sessions", 405),
        ]:
            with self.subTest(method=method, path=path):
                self.assert_refused(self.node.call(method, path, "{}"), status)

    async def test_it_works_under_asgi(self) -> None:
        client, kind = self.async_client, "text/plain;charset=UTF-8"
        body = json.dumps({"token": TOKEN})
        answer = await client.post("/free/login", body, kind)
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        await client.post("/free/session/a%2Fb", "[1]", kind, headers=headers)
        assert (await client.get("/free/session/a/b", headers=headers)).json() == [1]

    def test_costs(self) -> None:
        self.node.login()
        for call, statements in [
            (lambda: self.node.write("42", 1), NEW_SESSION),
            (lambda: self.node.write("42", 2), ["SELECT", "UPDATE"]),
            (lambda: self.node.read("42"), ["SELECT"]),
            (lambda: self.node.delete("42"), ["DELETE"]),
        ]:
            with CaptureQueriesContext(connection) as queries:
                call()
            made = [query["sql"].split()[0] for query in queries]
            assert [word for word in made if word not in ("SAVEPOINT", "RELEASE")] == statements


@served
class Limits(Service):
    def test_a_key_has_at_most_64_characters(self) -> None:
        assert self.node.write("п" * 64, 1).status_code == 204
        for method in ("GET", "POST", "DELETE"):
            self.assert_refused(self.node.call(method, "session/" + "k" * 65, "1"), 400)

    def test_a_key_that_not_every_database_tells_from_others_is_refused(self) -> None:
        for path in ("%00", "a%20", "%20"):
            with self.subTest(path):
                self.assert_refused(self.node.write(path, 1), 400)

    def test_data_have_at_most_16_kibibytes(self) -> None:
        self.node.write("42", 1)
        assert self.node.write("42", "x" * (16 * 1024 - 2)).status_code == 204
        self.assert_refused(self.node.write("42", "x" * (16 * 1024 - 1)), 400)
        assert len(self.node.read("42").content) == 16 * 1024

    def test_what_is_no_strict_json_is_refused(self) -> None:
        for body in (
            *(b"", b"{", b"NaN", b"1e999", b"\xff", b'"\\u0000"', b'"\\ud800"'),
            *(b"[" * 9999, b"[" * 40 + b"]" * 40, b"1" * 5000),
        ):
            with self.subTest(body[:9]):
                self.assert_refused(self.node.call("POST", "session/42", body), 400)
        assert not BotSession.objects.exists()

    def test_at_the_limit_of_sessions_only_new_ones_are_refused(self) -> None:
        with limited(MAX_SESSIONS=2):
            self.node.write("1", 1)
            self.node.write("2", {"__d": 1, "e": EXPIRY})
            self.assert_refused(self.node.write("3", 1), 409)
            assert self.node.write("2", 2).status_code == 204
            assert Node(OTHER_TOKEN).write("3", 1).status_code == 204
            self.node.delete("1")
            assert self.node.write("3", 1).status_code == 204

    def test_what_has_expired_does_not_count(self) -> None:
        with limited(MAX_SESSIONS=1):
            self.node.write("1", {"__d": 1, "e": 1})
            assert self.node.write("2", 1).status_code == 204
            self.assert_refused(self.node.write("3", {"__d": 1, "e": 1}), 409)

    def test_what_has_expired_takes_no_place_in_the_table_for_long(self) -> None:
        with limited(MAX_SESSIONS=5):
            Node(OTHER_TOKEN).write("other", {"__d": 1, "e": 1})
            for key in range(30):
                assert self.node.write(str(key), {"__d": 1, "e": 1}).status_code == 204
            assert BotSession.objects.filter(bot="node").count() <= 5
            assert BotSession.objects.filter(bot="other").count() == 1


@pytest.mark.django_db(transaction=True)
@served
class ManyAtOnce(TransactionTestCase):
    def at_once(self, calls: list[Callable[[Node], Any]]) -> list[int]:
        """Return the statuses of calls by as many clients at the same moment."""
        cache.clear()
        barrier = threading.Barrier(len(calls))

        def answer(call: Callable[[Node], Any]) -> int:
            try:
                node = Node()
                node.login()
                barrier.wait()
                return int(call(node).status_code)
            finally:
                connection.close()

        with limited(MAX_SESSIONS=5), ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(answer, calls))

    def test_a_bot_never_has_more_sessions_than_it_may(self) -> None:
        def write(key: int) -> Callable[[Node], Any]:
            return lambda node: node.write(str(key), key)

        statuses = self.at_once([write(key) for key in range(12)])
        assert sorted(statuses) == [204] * 5 + [409] * 7
        assert BotSession.objects.count() == 5

    def test_whoever_writes_last_is_stored(self) -> None:
        def write(value: int) -> Callable[[Node], Any]:
            return lambda node: node.write("42", value)

        assert self.at_once([write(value) for value in range(12)]) == [204] * 12
        assert BotSession.objects.get().data in range(12)


@served
class BesidePythonBots(Service):
    def test_version_and_expiry_that_grammy_packs_have_columns(self) -> None:
        packed = {"__d": {"pizzaCount": 1}, "v": 1.5, "e": EXPIRY}
        self.node.write("42", packed)
        row = BotSession.objects.get()
        assert (row.bot, row.name, row.key) == ("node", "", "42")
        assert (row.data, row.version) == ({"pizzaCount": 1}, Decimal("1.5"))
        assert row.expires_at == datetime.fromtimestamp(EXPIRY / 1000, timezone.utc)
        assert self.node.read("42").json() == packed

    def test_what_has_expired_is_not_there(self) -> None:
        self.node.write("42", {"__d": 1, "e": 1_700_000_000_000})
        self.assert_refused(self.node.read("42"), 404)
        assert self.node.write("42", 2).status_code == 204
        assert self.node.read("42").json() == 2

    def test_python_code_edits_the_same_session(self) -> None:
        self.node.write("42", {"pizzaCount": 1})
        with session().edit("42", bot="node") as data:
            data["pizzaCount"] += 1
        assert self.node.read("42").json() == {"pizzaCount": 2}


ODD: list[Any] = [
    {"__d": 1},
    {"__d": None, "v": 1},
    {"__d": 1, "v": "1"},
    {"__d": 1, "v": True},
    {"__d": 1, "v": 1e-9},
    {"__d": 1, "v": None},
    {"__d": 1, "e": 1.5},
    {"__d": 1, "e": 10**30},
    {"__d": 1, "e": "soon"},
    {"__d": 1, "v": 1, "more": 1},
    {"__d": {"__d": 1, "v": 1}, "v": 1},
    {"v": 1, "e": 1},
    [{"__d": 1, "v": 1}],
]


@served
class ExactlyTheStoredJson(Service):
    def test_what_looks_odd_reads_back_equal(self) -> None:
        for value in ODD:
            with self.subTest(value=value):
                assert self.node.write("42", value).status_code == 204
                assert json.dumps(self.node.read("42").json(), sort_keys=True) == json.dumps(
                    value, sort_keys=True
                )


@served
class Json(HypothesisTestCase):
    numbers = st.floats(-1e15, 1e15)

    @given(
        strict_json(numbers)
        | st.dictionaries(st.sampled_from(["__d", "v", "e"]), strict_json(numbers))
    )
    @settings(max_examples=50, deadline=None)
    def test_what_is_written_reads_back_equal(self, value: Any) -> None:
        node = Node()
        if value is not None and node.write("42", value).status_code == 204:
            answer = node.read("42")
            expired = isinstance(value, dict) and "e" in value and answer.status_code == 404
            assert expired or answer.json() == value


@pytest.mark.django_db(transaction=True)
@limited(MAX_KEY_LENGTH=255, MAX_BYTES=2**20, LOGINS_PER_MINUTE=10**6)
@served
class FreeStorageOnTheServiceTests(StorageContract, LiveServerTestCase):
    """Our client against our service."""

    def make_storage(self) -> Storage:
        return FreeStorage(TOKEN, f"{self.live_server_url}/free")
