"""The chat page's line to the bot: the application that Telegram would talk to, but offline."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeAlias

from botsessions.testing import Answers, AsyncBotClient, Message, Person

from .watching import Watch, leave_statements, watch_handlers, watch_statements, watched

TIMEOUT = 30
"""After so many seconds without an answer the line gives up."""

MAX_MESSAGES = 1000
"""So many messages are kept at the bot's end; a visitor's browser keeps its own."""

Visitor: TypeAlias = "Person[Awaitable[Answers], Awaitable[Any]]"
Act: TypeAlias = "Callable[[Visitor], Awaitable[list[Answers]]]"


class Line:
    """An application of each bot for all visitors, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._clients: dict[str, AsyncBotClient] = {}
        self._loop = asyncio.new_event_loop()
        watch_statements()
        threading.Thread(target=self._run, name="demo-bot", daemon=True).start()

    def send(self, bot: str, chat_id: int, *texts: str) -> tuple[list[Answers], Watch]:
        """Send a visitor's messages to a bot, all at the same moment.

        Returns what the bot did with each, and what has happened meanwhile.
        """

        async def act(visitor: Visitor) -> list[Answers]:
            return list(await asyncio.gather(*(visitor.send(text) for text in texts)))

        return self._talk(bot, chat_id, act)

    def press(
        self, bot: str, chat_id: int, message: dict[str, Any], label: str, button: str
    ) -> tuple[list[Answers], Watch]:
        """Press a button, known by its label and callback data, below a message of the bot."""

        async def act(visitor: Visitor) -> list[Answers]:
            below = message | {
                "date": int(time.time()),
                "chat": visitor.place.chat,
                "reply_markup": {"inline_keyboard": [[{"text": label, "callback_data": button}]]},
            }
            self._client(bot).telegram.messages[chat_id, message["message_id"]] = below
            return [await visitor.press(button, message=Message(below))]

        return self._talk(bot, chat_id, act)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def close(self) -> None:
        """End the applications, as when the process ends."""
        leave_statements()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _close(self) -> None:
        for client in self._clients.values():
            await client.conversation.close()

    def _talk(self, bot: str, chat_id: int, act: Act) -> tuple[list[Answers], Watch]:
        # In the request's context, asgiref would send the bot's database work to its thread.
        future = Context().run(
            asyncio.run_coroutine_threadsafe, self._answers(bot, chat_id, act), self._loop
        )
        return future.result()

    async def _answers(self, bot: str, chat_id: int, act: Act) -> tuple[list[Answers], Watch]:
        client = self._client(bot)
        visitor: Visitor = client.user(guest(chat_id), id=chat_id)
        with watched() as watch:
            try:
                return await asyncio.wait_for(act(visitor), TIMEOUT), watch
            finally:
                client.telegram.calls.clear()
                while len(client.telegram.messages) > MAX_MESSAGES:
                    del client.telegram.messages[next(iter(client.telegram.messages))]

    def _client(self, bot: str) -> AsyncBotClient:
        client = self._clients.get(bot)
        if client is None:
            client = self._clients[bot] = AsyncBotClient(bot)
            # Ids go on after a restart: browsers keep the messages of earlier processes.
            client.telegram._ids = itertools.count(int(time.time()))
            watch_handlers(client.application)
        return client


def guest(chat_id: int) -> str:
    """Return a visitor's name."""
    return f"Guest {chat_id % 10_000:04}"


_line: Line | None = None
_mutex = threading.Lock()


def close() -> None:
    """Close this process's line, if it is open."""
    global _line
    with _mutex:
        if _line is not None and _line.process == os.getpid():
            _line.close()
        _line = None


def line() -> Line:
    """Return this process's line; it is opened when somebody first speaks."""
    global _line
    with _mutex:
        if _line is None or _line.process != os.getpid():
            _line = Line()
        return _line
