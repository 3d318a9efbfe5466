"""Test clients: people who talk to a bot, without Telegram, in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, cast

from django.db import connections
from telegram import Update

from ..arguments import check_function, check_text, wrong
from ..bots import get_bot
from ..database.connections import sync_code_waits
from ..editing import refuse_event_loop
from ..exceptions import SessionError
from ..ptb import SessionApplication, build_application
from ..ptb.builder import built_application
from ..ptb.registry import ANY_LOOP, register
from ..sources import FromUpdate
from ..storages.layers import peel
from ..unit import Unit
from .answers import Answers, Message
from .loop import Loop
from .offline import Call, OfflineBuilder, OfflineTelegram
from .updates import Json, Place, Telegram

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    S = TypeVar("S", default=Any)
else:
    from typing import TypeVar

    S = TypeVar("S")

A = TypeVar("A")
answering: ContextVar[Answers | None] = ContextVar("answering", default=None)
"""Of the update that the running code belongs to."""
Build = Callable[[Any], SessionApplication]

FOREVER_SECONDS = 10 * 365 * 24 * 3600


class Conversation:
    """A bot's application, offline, and what it does with updates."""

    def __init__(
        self, bot: str | None, build: Build | None, raise_errors: bool | None, timeout: float
    ):
        self.telegram = OfflineTelegram(on_call=self._note_call)
        self.updates = Telegram(self.telegram)
        self.timeout = timeout
        builder = OfflineBuilder(self.telegram)
        self.application = application_of(bot, build, builder)
        self.raise_errors = (
            not self.application.error_handlers if raise_errors is None else raise_errors
        )
        self.application.add_error_handler(self._note_error)
        self._starting = asyncio.Lock()

    async def deliver(self, content: object, wait: bool) -> Answers:
        """Let the application handle an update, with the tasks that it starts."""
        await self._start()
        answers = Answers([], [])
        # Tasks inherit it, so updates that are handled side by side have answers of their own.
        token = answering.set(answers)
        try:
            update = self._update(content) if isinstance(content, dict) else content
            await self.application.process_update(update)
            if wait:
                await self._settle()
        finally:
            answering.reset(token)
        if self.raise_errors and answers.errors:
            raise answers.errors[0]
        return answers

    async def _start(self) -> None:
        async with self._starting:
            if not self.application.running:
                await self.application.initialize()
                await self.application.start()

    async def stored(self, place: Place) -> Any:
        """Return what the session holds in which a message from ``place`` would be handled."""
        session = self.application.session
        message = {"message_id": 0, "date": 0, "chat": place.chat, **place.message_fields()}
        if place.sender is not None:
            message["from"] = place.sender
        update = self._update({"update_id": 0, place.kind: message})
        unit = Unit(
            session.fragments, self.application.session_bot, FromUpdate(update), holds=False
        )
        await unit.enter()
        data = {name: await unit.data(name).get_stored() for name in unit.fragments}
        return SimpleNamespace(**data) if session.is_multi else next(iter(data.values()))

    async def close(self) -> None:
        """Stop the application."""
        if self.application.running:
            await self.application.stop()
            await self.application.shutdown()

    def _update(self, content: Json) -> Update:
        return Update.de_json(content, self.application.bot)

    async def _settle(self) -> None:
        """Handle updates that handlers have put into the queue, and wait for the bot's tasks."""
        queue = self.application.update_queue
        # PTB keeps the tasks of its handlers under this (mangled) name.
        tasks: set[asyncio.Task[Any]] = self.application._Application__create_task_tasks  # type: ignore[attr-defined]
        while tasks or not queue.empty():
            if not queue.empty():
                await self.application.process_update(queue.get_nowait())
                queue.task_done()
                continue
            _, pending = await asyncio.wait(set(tasks), timeout=self.timeout)
            if pending:
                names = ", ".join(sorted(task.get_name() for task in pending))
                raise TimeoutError(
                    f"The bot's tasks did not end within {self.timeout} s: {names}. "
                    "If they are meant to go on, call with wait=False."
                )

    def _note_call(self, call: Call) -> None:
        if (answers := answering.get()) is not None:
            answers.calls.append(call)

    async def _note_error(self, update: object, context: Any) -> None:
        if (answers := answering.get()) is not None:
            answers.errors.append(context.error)


def application_of(
    bot: str | None, build: Build | None, builder: OfflineBuilder
) -> SessionApplication:
    if build is None:
        return build_application(get_bot(bot), builder)
    if bot is not None:
        raise TypeError("Give either a bot's alias or build, not both.")
    check_function("build", build, "a function from a builder to an application", "builder")
    return built_application(build(builder), "build")


class Person(Generic[A, S]):
    """Somebody in a chat with the bot. Made by a client's ``user()``."""

    def __init__(self, client: Client[A, S], place: Place) -> None:
        self.client = client
        self.place = place
        self._last: Json | None = None

    @property
    def id(self) -> int:
        """The user's id."""
        return int(self.place.user["id"])

    @property
    def session(self) -> S:
        """What the bot's session holds for this person here, ``None`` if nothing is stored.

        Of a multi session, an object with the fragments as attributes. Of the asynchronous client
        it is to be awaited.
        """
        return self.client._stored(self.place)

    def in_chat(
        self, chat: Json, *, topic: int | None = None, business: str | None = None
    ) -> Person[A, S]:
        """Return the same person in another chat.

        Args:
            chat: from the client's ``group()``, ``supergroup()`` or ``channel()``, or a person's
                ``place.chat``.
            topic: the forum topic's ``message_thread_id``; in a channel's direct messages, the id
                of the person's topic.
            business: the id of the business connection through which the bot sees the chat.
        """
        check_chat(chat)
        return Person(self.client, self.place.moved(chat, topic, business))

    def send(self, text: str | None = None, *, wait: bool = True, **fields: Any) -> A:
        """Send a message.

        Args:
            text: the text; a leading ``/command`` is marked as one.
            wait: whether to wait for tasks of the bot, like handlers with ``block=False``.
            fields: further fields of the message, as in the Bot API: ``photo=[…]``, ``dice={…}``.
        """
        if text is not None:
            check_text("text", text, "what the person writes")
        place = self.place
        fields = place.message_fields() | fields
        self._last = self._updates.message(place.sender, place.chat, text, **fields)
        return self.client.feed({place.kind: self._last}, wait=wait)

    def edit(self, text: str, *, wait: bool = True) -> A:
        """Change the text of the message sent last."""
        if self._last is None:
            raise ValueError("There is nothing to edit: send() something first.")
        self._last |= {"text": text, "edit_date": self._last["date"]}
        return self.client.feed({f"edited_{self.place.kind}": self._last}, wait=wait)

    def press(self, button: str, *, message: Message | None = None, wait: bool = True) -> A:
        """Press a button.

        Args:
            button: its label, or its callback data.
            message: the message below which it is; else the newest one that has it.
        """
        below, found = self._button(button, message)
        if "callback_data" not in found:
            return self.send(found["text"], wait=wait)
        query = {
            "id": f"query-{below.id}",
            "from": self.place.user,
            "message": below.data,
            "chat_instance": str(below.chat_id),
            "data": found["callback_data"],
        }
        return self.client.feed({"callback_query": query}, wait=wait)

    def ask_inline(self, query: str, *, wait: bool = True) -> A:
        """Type the bot's name and ``query`` in some chat (an inline query)."""
        content = {"id": "inline", "from": self.place.user, "query": query, "offset": ""}
        return self.client.feed({"inline_query": content}, wait=wait)

    @property
    def messages(self) -> list[Message]:
        """All messages in this chat, in order."""
        kept = self.client.conversation.telegram.messages
        here = self.place.chat["id"]
        return [Message(data) for (chat, _), data in sorted(kept.items()) if chat == here]

    @property
    def _updates(self) -> Telegram:
        return self.client.conversation.updates

    def _button(self, label: str, message: Message | None) -> tuple[Message, Json]:
        messages = self.messages if message is None else [message]
        for candidate in reversed(messages):
            for button in (b for row in candidate.keyboard for b in row):
                if label in (button["text"], button.get("callback_data")):
                    return candidate, button
        labels = [b for m in messages for row in m.buttons for b in row]
        raise ValueError(f"There is no button {label!r}; there are {', '.join(labels) or 'none'}.")


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

    def _chat(self, kind: str, title: str, id: int | None, **fields: Any) -> Json:
        check_text("title", title, "the chat's title")
        check_id(id)
        return self.conversation.updates.chat(kind, title, id, **fields)

    def _deliver(self, update: object, wait: bool) -> A:
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
        storages = [peel(f.storage)[1] for f in self.application.fragments.values()]
        return {storage.using for storage in storages if hasattr(storage, "using")}


def check_id(number: object) -> None:
    if number is not None and type(number) is not int:
        wrong("id", number, "a number")


def check_chat(chat: object) -> None:
    if not isinstance(chat, dict) or not {"id", "type"} <= chat.keys():
        wrong("chat", chat, "what the client's group(), supergroup() or channel() returned")


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
