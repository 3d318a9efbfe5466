"""Test clients: people who talk to a bot, without Telegram, in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, cast

from django.db import connections
from telegram import Update

from ..arguments import check_duration, check_text, wrong
from ..database.callers import sync_code_waits
from ..editing import refuse_event_loop
from ..exceptions import SessionError
from ..ptb import SessionApplication
from ..ptb.registry import ANY_LOOP, register
from .answers import Answers
from .conversation import Build, Conversation
from .loop import Loop
from .offline import OfflineTelegram
from .person import A, Person, S
from .updates import Json, Place

if TYPE_CHECKING:
    from typing_extensions import Self

FOREVER_SECONDS = 10 * 365 * 24 * 3600


class Client(Generic[A, S]):
    """What both test clients have in common.

    Args:
        bot: the alias of a bot in the settings; not needed if there is just one.
        build: instead, a function from PTB's builder to an application with a session.
        raise_errors: whether an exception in a handler is raised to the test. By default it is,
            unless the bot has error handlers.
        timeout: how many seconds a bot's tasks may take.
    """

    def __init__(
        self,
        bot: str | None = None,
        *,
        build: Build | None = None,
        raise_errors: bool | None = None,
        timeout: float = 10,
    ) -> None:
        if not isinstance(timeout, (int, float)):
            wrong("timeout", timeout, "a number of seconds")
        self.conversation = Conversation(bot, build, raise_errors, timeout)
        register(self.application, ANY_LOOP, owner=self)  # Its Telegram exists in memory.

    @property
    def application(self) -> SessionApplication:
        """The bot's application."""
        return self.conversation.application

    @property
    def telegram(self) -> OfflineTelegram:
        """What the bot takes for Telegram."""
        return self.conversation.telegram

    def user(self, name: str = "Maria", *, id: int | None = None, **fields: Any) -> Person[A, S]:
        """Return a person in a private chat with the bot.

        Args:
            name: the first name, or first and last name.
            id: the Telegram user id; by default a new one.
            fields: further fields of the user, as in the Bot API: ``language_code="de"``.
        """
        check_text("name", name, "first name, or first and last name")
        check_id(id)
        updates = self.conversation.updates
        user = updates.user(name, id, **fields)
        return Person(self, Place(user, updates.private_chat(user)))

    def group(self, title: str = "Group", *, id: int | None = None, **fields: Any) -> Json:
        """Return a group, for a person's ``in_chat()``."""
        return self._chat("group", title, id, **fields)

    def supergroup(
        self, title: str = "Supergroup", *, id: int | None = None, **fields: Any
    ) -> Json:
        """Return a supergroup.

        With ``is_forum=True`` it has topics; with ``is_direct_messages=True`` it is where people
        write to a channel.
        """
        return self._chat("supergroup", title, id, **fields)

    def channel(self, title: str = "Channel", *, id: int | None = None, **fields: Any) -> Json:
        """Return a channel."""
        return self._chat("channel", title, id, **fields)

    def feed(self, update: object, *, wait: bool = True) -> A:
        """Let the bot handle any update: an object, or a dict as in the Bot API."""
        if isinstance(update, dict) and "update_id" not in update:
            check_kind(update)
            update = self.conversation.updates.update(**update)
        return self._deliver(update, wait)

    def let_time_pass(self, length: timedelta) -> A:
        """Let it be later for what the bot has stored in the database, and return what it does.

        Sessions that expire in that time have expired, stored jobs are run, and timeouts of kept
        conversations come true. Jobs of the job queue have clocks of their own.
        """
        check_duration("length", length)
        return self._let_time_pass(length)

    def _chat(self, kind: str, title: str, id: int | None, **fields: Any) -> Json:
        check_text("title", title, "the chat's title")
        check_id(id)
        return self.conversation.updates.chat(kind, title, id, **fields)

    def _deliver(self, update: object, wait: bool) -> A:
        raise NotImplementedError

    def _let_time_pass(self, length: timedelta) -> A:
        raise NotImplementedError

    def _stored(self, place: Place) -> S:
        raise NotImplementedError


class BotClient(Client[Answers, S], Generic[S]):
    """Talks to a bot in sync tests, like Django's test client to views.

    The bot's database work is done on the test's own thread, so ``TestCase`` rolls it back.
    ``BotClient[Basket]()`` tells type checkers what a person's ``session`` is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse_event_loop("BotClient", "AsyncBotClient")
        super().__init__(*args, **kwargs)
        self._loop = Loop()
        # It would now and then send statements of its own.
        self.application.looks_by_itself = False
        # A task that waits for ever could not be ended when the client is garbage collected.
        self.application._update_fetcher = nothing  # type: ignore[method-assign]

    def close(self) -> None:
        """Stop the bot. Not needed at the end of a test."""
        self._loop.run(self.conversation.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _deliver(self, update: object, wait: bool) -> Answers:
        return self._loop.run(self.conversation.deliver(update, wait))

    def _let_time_pass(self, length: timedelta) -> Answers:
        return self._loop.run(self.conversation.let_time_pass(length))

    def _stored(self, place: Place) -> S:
        return cast(S, self._loop.run(self.conversation.stored(place)))


class AsyncBotClient(Client[Awaitable[Answers], Awaitable[S]], Generic[S]):
    """Talks to a bot in asynchronous tests: ``await maria.send("🍕")``, ``await maria.session``.

    Raises:
        SessionError: at the first ``await``: the test's transaction would not take in what the bot
            writes.
    """

    _kept: asyncio.TimerHandle | None = None

    async def aclose(self) -> None:
        """Stop the bot."""
        await self.conversation.close()
        if self._kept is not None:
            self._kept.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _deliver(self, update: object, wait: bool) -> Answers:
        self._refuse_lost_rollback()
        if self._kept is None:
            # A forgotten application lives as long as the loop. The garbage collector would end
            # PTB's task that waits for updates anywhere, be it while another loop runs.
            loop = asyncio.get_running_loop()
            self._kept = loop.call_later(FOREVER_SECONDS, id, self.application)
        return await self.conversation.deliver(update, wait)

    async def _let_time_pass(self, length: timedelta) -> Answers:
        self._refuse_lost_rollback()
        return await self.conversation.let_time_pass(length)

    async def _stored(self, place: Place) -> S:
        self._refuse_lost_rollback()
        return cast(S, await self.conversation.stored(place))

    def _refuse_lost_rollback(self) -> None:
        if sync_code_waits():
            return
        for using in self._databases():
            if in_transaction(using):
                raise SessionError(
                    "This test runs in a transaction of the event loop's thread, but what the bot "
                    "writes is written by another thread and would stay in the database. Use "
                    "BotClient in a sync test, Django's TestCase with async methods, or "
                    "pytest.mark.django_db(transaction=True)."
                )

    def _databases(self) -> set[str]:
        return {storage.using for storage in self.conversation.storages}


def check_id(number: object) -> None:
    if number is not None and type(number) is not int:
        wrong("id", number, "a number")


def check_kind(content: Json) -> None:
    """Raise ValueError for what is no update of the Bot API, or one misspelt."""
    if len(content) != 1 or not content.keys() <= set(Update.ALL_TYPES):
        raise ValueError(
            "An update is a dict of one kind of the Bot API, like {'message': {…}}, or several "
            f"with an 'update_id', not one of {', '.join(content) or 'nothing'}."
        )
    ((kind, value),) = content.items()
    if not isinstance(value, dict):
        wrong(kind, value, "a dict as in the Bot API")


async def nothing() -> None:
    pass


def in_transaction(using: str) -> bool:
    """Whether this thread has a transaction, as sync code sees it.

    On a running event loop Django would show a new connection, which has none.
    """
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return connections[using].in_atomic_block
    finally:
        asyncio._set_running_loop(loop)
