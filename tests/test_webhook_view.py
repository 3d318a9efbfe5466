"""Webhooks by Django's view and by the middleware: what they refuse, and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from io import BytesIO
from typing import Any, TypeAlias

import httpx
import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from telegram.ext import TypeHandler

from botsessions import SessionApplication, session
from botsessions.asgi import WebhookMiddleware
from botsessions.exceptions import SessionVersionError
from botsessions.models import BotSession, HandledUpdate
from botsessions.webhook import home
from botsessions.webhook.delivery import MAX_UPDATE_BYTES, SECRET_HEADER
from project.settings import MIDDLEWARE

from .botapi import Account, serving
from .servers import wait_until
from .sites import SECRET, TOKEN

counter = session(initial=lambda: {"count": 0})
UPDATE = {
    "update_id": 1001,
    "message": {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 5, "type": "private", "first_name": "Maria"},
        "from": {"id": 5, "is_bot": False, "first_name": "Maria"},
        "text": "one",
    },
}
MESSAGE: dict[str, Any] = UPDATE["message"]  # type: ignore[assignment]
Post: TypeAlias = "Callable[..., HttpResponse]"


class Storage:
    """Fails as often as it is told to, and else has nothing."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.written: list[Any] = []

    async def read(self, address: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def write(self, address: Any, record: Any) -> int:
        self.written.append(record.value)
        return 1

    async def delete(self, address: Any, revision: Any) -> None:
        self.written.append(None)


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def account(settings: Any, storage: Storage) -> Iterator[Account]:
    """The bot's account; the bot counts, and its webhook is in force."""
    home.forget_stopped_home()  # That of an earlier test.
    with serving() as api:
        yield in_force(settings, api.url, api.account(TOKEN), storage=storage)
        home.stop_and_wait()


def in_force(settings: Any, url: str, account: Account, **kwargs: Any) -> Account:
    async def count(update: Any, context: Any) -> None:
        context.session["count"] += 1
        if update.message.text == "raise":
            raise RuntimeError("The handler raised.")
        if update.message.text == "cancel":
            raise asyncio.CancelledError
        if update.message.text == "cancel its task":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)
        if update.message.text == "end its task":
            raise GeneratorExit
        if update.message.text == "exit":
            sys.exit("The handler has had enough.")

    def build(builder: Any) -> Any:
        application = builder.base_url(f"{url}/bot").build()
        application.add_handler(TypeHandler(object, count))
        return application

    settings.ROOT_URLCONF = "tests.bots.urls"
    settings.BOTSESSIONS = {
        "BOTS": {
            "notes": {
                "TOKEN": TOKEN,
                "WEBHOOK_SECRET": SECRET,
                "SESSION": session(initial=lambda: {"count": 0}, **kwargs),
                "APPLICATION": build,
            },
            "polling": {"TOKEN": TOKEN},
        }
    }
    return account


@pytest.fixture(params=["asgi", "wsgi", "middleware"])
def post(request: pytest.FixtureRequest) -> Post:
    """A function that sends a request as a server of that kind would have it handled."""

    def post(
        body: Any = UPDATE,
        alias: str = "notes",
        secret: str = SECRET,
        content_type: str = "application/json",
    ) -> HttpResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        arguments: Any = {"content_type": content_type, "headers": {SECRET_HEADER: secret}}
        if request.param == "wsgi":
            client = Client(enforce_csrf_checks=True)
            return client.post(f"/telegram/{alias}/", data, **arguments)
        if request.param == "middleware":
            headers = {"Content-Type": content_type, SECRET_HEADER: secret.encode()}
            return asyncio.run(past_django(f"/telegram/{alias}/", content=data, headers=headers))
        async_client = AsyncClient(enforce_csrf_checks=True)
        return asyncio.run(async_client.post(f"/telegram/{alias}/", data, **arguments))

    return post


async def past_django(path: str, method: str = "POST", **arguments: Any) -> Any:
    """Send a request to the middleware around an application that is not to be asked."""

    async def application(*args: Any) -> None:
        raise AssertionError("The site was asked.")

    transport = httpx.ASGITransport(WebhookMiddleware(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await client.request(method, path, **arguments)


@pytest.mark.once
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"alias": "nobody"}, 404),
        ({"alias": "polling"}, 404),
        ({"secret": ""}, 403),
        ({"secret": SECRET + "x"}, 403),
        ({"secret": "\u00e9"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"body": b" " * (MAX_UPDATE_BYTES + 1)}, 413),
        ({"body": b" "}, 400),
        ({"body": b"{"}, 400),
        ({"body": b"\xff"}, 400),
        ({"body": b"[" * 100_000}, 400),
        ({"body": [1001]}, 400),
        ({"body": {}}, 400),
        ({"body": {"update_id": "1001"}}, 400),
        ({"body": {"update_id": True}}, 400),
        ({"body": {"update_id": -1}}, 400),
        ({"body": {"update_id": 2**63}}, 400),
    ],
    ids=str,
)
def test_what_is_not_telegrams_is_refused_without_a_query_or_a_thread(
    request_: dict[str, Any], status: int, post: Post, account: Account
) -> None:
    assert post(**request_).status_code == status
    assert home.home_if_any() is None


class Unread(BytesIO):
    """A body that is never to be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("The body was read.")


@pytest.mark.once
@pytest.mark.parametrize(
    ("secret", "kind", "length", "status"),
    [
        ("", "application/json", 300 * 2**20, 403),
        ("wrong", "application/json", 1, 403),
        (SECRET, "text/plain", 1, 415),
        (SECRET, "application/json", MAX_UPDATE_BYTES + 1, 413),
    ],
)
def test_no_byte_is_read_of_what_is_refused_anyway(
    secret: str, kind: str, length: int, status: int, account: Account
) -> None:
    meta: Any = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(length), "CONTENT_TYPE": kind}
    answer = Client().generic("POST", "/telegram/notes/", headers={SECRET_HEADER: secret}, **meta)
    assert answer.status_code == status


@pytest.mark.once
def test_a_body_in_chunks_which_wsgi_cannot_read_is_told_apart(
    client: Client, account: Account
) -> None:
    answer = client.post(
        "/telegram/notes/",
        json.dumps(UPDATE),
        "application/json",
        headers={SECRET_HEADER: SECRET, "Transfer-Encoding": "chunked"},
        CONTENT_LENGTH="",
    )
    assert answer.status_code == 411


def test_only_post_is_allowed(client: Client, account: Account) -> None:
    responses = [
        client.get("/telegram/notes/"),
        asyncio.run(past_django("/telegram/notes/", "GET")),
    ]
    for response in responses:
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_no_cache_keeps_an_answer(post: Post, account: Account) -> None:
    for response in (post(), post(secret="")):
        assert {"no-store", "private"} <= set(response.headers["Cache-Control"].split(", "))


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "content",
    [
        {"message": 7},
        {"message": {"text": "x"}},
        {"message": MESSAGE | {"date": 10**17}},
        {"message": MESSAGE | {"date": 10**30}},
        {"message": MESSAGE | {"edit_date": -(10**12)}},
        {"message": reduce(lambda inner, _: MESSAGE | {"reply_to_message": inner}, range(900), {})},
    ],
    ids=["no object", "no message", "late", "later", "early", "nested"],
)
def test_an_object_that_is_no_update_is_refused(
    content: dict[str, Any], post: Post, account: Account
) -> None:
    assert post({"update_id": 1, **content}).status_code == 400
    assert not HandledUpdate.objects.exists()


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_g4_the_request_has_no_queries_of_its_own_under_atomic_requests(
    post: Post, account: Account, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.MIDDLEWARE = MIDDLEWARE
    with CaptureQueriesContext(connection) as captured:
        assert post().status_code == 200
    assert captured.captured_queries == []


@pytest.mark.django_db(transaction=True)
def test_an_update_is_noted_as_handled_and_not_handled_again(
    post: Post, account: Account, storage: Storage
) -> None:
    for _ in range(2):
        assert post().status_code == 200
    assert storage.written == [{"count": 1}]
    handled = HandledUpdate.objects.get()
    assert (handled.bot, handled.update_id) == ("notes", 1001)
    assert handled.handled_at is not None


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_when_a_session_could_not_be_loaded_telegram_delivers_again(
    post: Post, account: Account, storage: Storage
) -> None:
    storage.failures = [OSError("The storage is away.")]
    assert post().status_code == 503
    assert post().status_code == 200
    assert storage.written == [{"count": 1}]


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_when_the_data_or_the_key_is_at_fault_another_delivery_would_not_help(
    post: Post, account: Account, storage: Storage, settings: Any
) -> None:
    storage.failures = [SessionVersionError("It is too new.")]
    assert post().status_code == 200

    def get_session_key(update: Any) -> str:
        raise RuntimeError("There is no key.")

    bots = settings.BOTSESSIONS["BOTS"]
    keyless = session(get_session_key=get_session_key, storage=storage)
    bots["keyless"] = bots["notes"] | {"SESSION": keyless}
    assert post(alias="keyless").status_code == 200
    assert storage.written == []


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["raise", "cancel", "cancel its task", "end its task", "exit"])
def test_when_a_handler_raised_the_update_is_handled(
    post: Post, account: Account, storage: Storage, how: str
) -> None:
    failing = {**UPDATE, "message": MESSAGE | {"text": how}}
    assert post(failing).status_code == 200
    assert post(failing).status_code == 200
    assert storage.written == []
    assert HandledUpdate.objects.get().handled_at is not None


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
def test_a_bot_that_cannot_be_started_is_started_at_a_later_update(
    post: Post, account: Account, settings: Any, error: type[BaseException]
) -> None:
    errors = [error]

    async def post_init(application: Any) -> None:
        if errors:
            raise errors.pop()

    bot = settings.BOTSESSIONS["BOTS"]["notes"]
    plain = bot["APPLICATION"]
    bot["APPLICATION"] = lambda builder: plain(builder.post_init(post_init))
    assert [post().status_code for _ in range(2)] == [503, 200]


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_an_application_of_the_authors_own_class_handles_updates_in_its_way(
    post: Post, account: Account, settings: Any, storage: Storage
) -> None:
    seen = []

    class Watching(SessionApplication):
        async def process_update(self, update: object) -> None:
            seen.append(update)
            await super().process_update(update)

    bot = settings.BOTSESSIONS["BOTS"]["notes"]
    plain = bot["APPLICATION"]
    bot["APPLICATION"] = lambda builder: plain(builder.application_class(Watching))
    for _ in range(2):
        assert post().status_code == 200
    assert [update.update_id for update in seen] == [1001, 1001]
    assert storage.written == [{"count": 1}]


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_client_that_goes_away_does_not_cancel_the_update(
    account: Account, storage: Storage
) -> None:
    async def leave() -> None:
        with account.hold("getMe") as hold:
            data = json.dumps(UPDATE).encode()
            headers: Any = {SECRET_HEADER: SECRET}
            request = asyncio.create_task(
                AsyncClient().post(
                    "/telegram/notes/", data, content_type="application/json", headers=headers
                )
            )
            await asyncio.to_thread(wait_until, lambda: hold.calls, lambda: "It never starts.")
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert storage.written == []

    asyncio.run(leave())
    home.stop_and_wait()
    assert storage.written == [{"count": 1}]


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_when_the_bots_have_stopped_telegram_delivers_to_another_process(
    post: Post, account: Account, storage: Storage
) -> None:
    assert post().status_code == 200
    home.stop_and_wait()
    assert post({**UPDATE, "update_id": 1002}).status_code == 503
    assert storage.written == [{"count": 1}]


@pytest.mark.django_db(transaction=True)
def test_sessions_are_in_the_database_when_the_answer_comes(
    post: Post, account: Account, settings: Any
) -> None:
    settings.BOTSESSIONS["BOTS"]["notes"]["SESSION"] = counter
    for number in (1001, 1002):
        assert post({**UPDATE, "update_id": number}).status_code == 200
        assert BotSession.objects.get(key="5").data == {"count": number - 1000}
