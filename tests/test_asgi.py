"""The middleware for ASGI servers: its own requests, and the bots' life with the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from telegram.ext import TypeHandler

from botsessions import MemoryStorage, session
from botsessions.asgi import WebhookMiddleware
from botsessions.webhook import home
from botsessions.webhook.delivery import MAX_UPDATE_BYTES, SECRET_HEADER

from .botapi import CRASH, Account, serving
from .servers import wait_until
from .sites import SECRET, TOKEN

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]

JSON = {"content-type": "application/json", SECRET_HEADER: SECRET}


@pytest.fixture
def lived() -> list[str]:
    """What has happened in the bot's life."""
    return []


@pytest.fixture
def account(settings: Any, lived: list[str]) -> Iterator[Account]:
    """The account of a bot that notes what it is told."""

    def noting(word: str) -> Any:
        async def note(*args: Any) -> None:
            lived.append(word)

        return note

    async def handle(update: Any, context: Any) -> None:
        lived.append(update.message.text)

    def build(builder: Any) -> Any:
        builder.base_url(f"{api.url}/bot").post_init(noting("begun"))
        application = builder.post_stop(noting("stopped")).post_shutdown(noting("ended")).build()
        application.add_handler(TypeHandler(object, handle))
        return application

    home.forget_stopped_home()  # That of an earlier test.
    with serving() as api:
        account = api.account(TOKEN)
        bot = {
            "TOKEN": TOKEN,
            "WEBHOOK_SECRET": SECRET,
            "SESSION": session(storage=MemoryStorage()),
            "APPLICATION": build,
        }
        settings.ROOT_URLCONF = "tests.bots.urls"
        settings.BOTSESSIONS = {"BOTS": {"notes": bot, "polling": {"TOKEN": TOKEN}}}
        yield account
        home.stop_and_wait()


def body(number: int = 1, text: str = "one") -> bytes:
    person = {"id": 5, "type": "private", "is_bot": False, "first_name": "Maria"}
    message = {"message_id": 1, "date": 1, "chat": person, "from": person, "text": text}
    return json.dumps({"update_id": number, "message": message}).encode()


class Site:
    """The site's own application."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def __call__(self, *call: Any) -> None:
        self.asked.append(call)


class Request:
    """A request by ASGI, whose body comes in parts as it is asked for.

    Args:
        is_whole: whether the client does not go away after the last part.
    """

    def __init__(
        self,
        *parts: bytes,
        path: str = "/telegram/notes/",
        headers: dict[str, str] | None = None,
        is_whole: bool = True,
        **scope: Any,
    ) -> None:
        pairs = (JSON if headers is None else headers).items()
        encoded = [(name.lower().encode(), value.encode()) for name, value in pairs]
        scope = {"type": "http", "method": "POST", "path": path, "headers": encoded} | scope
        self.call = (scope, self.receive, self.send)
        self.parts = list(parts)
        self._is_whole = is_whole
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        more = bool(self.parts) or not self._is_whole
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def status(self, application: Any) -> int:
        await application(*self.call)
        return int(self.sent[0]["status"])


def passed_on(request: Request) -> bool:
    """Whether the site was asked in place of the bots, and just as the server had asked."""
    site = Site()
    asyncio.run(WebhookMiddleware(site)(*request.call))
    assert site.asked in ([], [request.call])
    return bool(site.asked)


def urlconf(*patterns: Any) -> Any:
    module = ModuleType("urls")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    return module


def other(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse()


def test_what_is_no_webhooks_goes_to_the_site_as_it_came(account: Account) -> None:
    assert passed_on(Request(path="/"))
    assert passed_on(Request(path="/telegram/"))
    assert passed_on(Request(path="/telegram/notes"))
    assert passed_on(Request(type="websocket"))
    assert not passed_on(Request(body()))


def test_the_urls_are_found_wherever_the_project_includes_them(
    account: Account, settings: Any
) -> None:
    bots = include("botsessions.urls")
    settings.ROOT_URLCONF = urlconf(
        path("a/", include([path("b/<str:alias>", other), path("c/", bots)])),
        path("d/e/", other),
        path("d/", bots),
    )
    assert not passed_on(Request(body(), path="/a/c/notes/"))
    assert not passed_on(Request(body(), path="/d/notes/"))
    assert passed_on(Request(path="/a/b/notes"))
    assert passed_on(Request(path="/d/e/"))  # The project has put something else before.
    assert passed_on(Request(path="/telegram/notes/"))
    settings.ROOT_URLCONF = urlconf(path("", bots))
    assert not passed_on(Request(body(), path="/notes/"))
    assert passed_on(Request(path="/d/notes/"))


def test_a_site_below_a_path_of_its_server_has_its_webhooks_there(
    account: Account, settings: Any
) -> None:
    assert not passed_on(Request(body(), path="/shop/telegram/notes/", root_path="/shop"))
    assert passed_on(Request(path="/shop/telegram/notes/"))
    settings.FORCE_SCRIPT_NAME = "/shop"
    assert not passed_on(Request(body(), path="/shop/telegram/notes/"))


def test_the_body_of_a_stranger_is_not_read(account: Account) -> None:
    stranger = Request(b"x" * 1000, headers=JSON | {SECRET_HEADER: "guessed"})
    assert asyncio.run(stranger.status(WebhookMiddleware(Site()))) == 403
    assert stranger.parts


def test_a_body_that_says_that_it_is_too_long_is_not_read(account: Account) -> None:
    for length in (str(MAX_UPDATE_BYTES + 1), "9" * 5000):
        long = Request(b"x" * 1000, headers=JSON | {"content-length": length})
        assert asyncio.run(long.status(WebhookMiddleware(Site()))) == 413
        assert long.parts


def test_a_body_is_read_up_to_its_limit(account: Account) -> None:
    size = MAX_UPDATE_BYTES // 4
    long = Request(*[b" " * size] * 4, body(), *[b" " * size] * 100)
    assert asyncio.run(long.status(WebhookMiddleware(Site()))) == 413
    assert len(long.parts) == 100
    just = body()
    parts = [just[:10], just[10:], b"", b" " * (MAX_UPDATE_BYTES - len(just))]
    assert asyncio.run(Request(*parts).status(WebhookMiddleware(Site()))) == 200


def test_half_a_body_is_no_update(account: Account, lived: list[str]) -> None:
    half = Request(body(), is_whole=False)
    assert asyncio.run(half.status(WebhookMiddleware(Site()))) == 400
    assert lived == []


def test_a_client_that_goes_away_does_not_cancel_the_update(
    account: Account, lived: list[str]
) -> None:
    async def leave() -> None:
        with account.hold("getMe") as hold:
            asking = asyncio.create_task(Request(body()).status(WebhookMiddleware(Site())))
            await asyncio.to_thread(wait_until, lambda: hold.calls, lambda: "It never starts.")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            account.release(hold)
            await home.home_here().end()

    asyncio.run(leave())
    assert lived == ["begun", "one", "stopped", "ended"]


def test_both_ways_lead_to_the_same_bots(account: Account, lived: list[str]) -> None:
    application = WebhookMiddleware(get_asgi_application())

    def by_the_view(number: int) -> int:
        headers: Any = {SECRET_HEADER: SECRET}
        content = body(number, "two")
        where, kind = "/telegram/notes/", "application/json"
        return Client().post(where, content, content_type=kind, headers=headers).status_code

    async def first_past_django() -> None:
        assert await Request(body(1)).status(application) == 200
        assert await asyncio.to_thread(by_the_view, 2) == 200
        assert await asyncio.to_thread(by_the_view, 1) == 200  # It is known to be handled.

    asyncio.run(first_past_django())
    assert lived == ["begun", "one", "two", "stopped", "ended"]
    lived.clear()

    async def then_the_other() -> None:
        assert await asyncio.to_thread(by_the_view, 3) == 200
        assert await Request(body(4)).status(application) == 200

    asyncio.run(then_the_other())
    assert lived == ["begun", "two", "one"]


def lifespan(application: Any, lived: list[str]) -> list[str]:
    """Have a server start and end; return what it was told."""
    told = []

    async def serve() -> None:
        ending = asyncio.Event()
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, Any]:
            message = next(messages)
            if message == "lifespan.shutdown":
                await ending.wait()
            return {"type": message}

        async def send(message: Any) -> None:
            told.append(message["type"].removeprefix("lifespan."))
            if told[-1] == "startup.complete":
                begun = partial(wait_until, lambda: "begun" in lived, lambda: "It never starts.")
                await asyncio.to_thread(begun)
                ending.set()

        await application({"type": "lifespan"}, receive, send)

    asyncio.run(serve())
    return told


def test_the_bots_live_as_long_as_the_server_that_serves_django(
    account: Account, lived: list[str]
) -> None:
    application = WebhookMiddleware(get_asgi_application())
    for _ in range(2):  # Once more in the same process, as in tests.
        told = lifespan(application, lived)
        assert told == ["startup.complete", "shutdown.complete"]
        assert lived == ["begun", "stopped", "ended"]
        lived.clear()


def test_an_application_that_has_a_lifespan_begins_before_the_bots_and_ends_after_them(
    account: Account, lived: list[str]
) -> None:
    async def site(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        assert lived == []
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        lived.append("site ended")
        await send({"type": "lifespan.shutdown.complete"})

    assert lifespan(WebhookMiddleware(site), lived) == ["startup.complete", "shutdown.complete"]
    assert lived == ["begun", "stopped", "ended", "site ended"]


def test_an_application_that_cannot_start_has_no_bots(account: Account, lived: list[str]) -> None:
    async def site(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "No."})

    assert lifespan(WebhookMiddleware(site), lived) == ["startup.failed"]
    assert home.home_if_any() is None


def test_an_application_that_fails_later_is_not_taken_for_one_without_a_lifespan(
    account: Account, lived: list[str]
) -> None:
    async def site(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise RuntimeError("It fails.")

    with pytest.raises(RuntimeError, match="It fails"):
        lifespan(WebhookMiddleware(site), lived)


def test_a_bot_that_cannot_start_does_not_keep_the_server_from_starting(
    account: Account, lived: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    account.fail("getMe", CRASH)
    lived.append("begun")  # Nobody is to wait for it.
    told = lifespan(WebhookMiddleware(get_asgi_application()), lived)
    assert told == ["startup.complete", "shutdown.complete"]
    assert "Bot 'notes' cannot be started" in caplog.text
