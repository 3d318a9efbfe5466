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
from project.bot import BOT

TIMEOUT = 30
"""After so many seconds without an answer the line gives up."""

MAX_MESSAGES = 1000
"""So many messages are kept at the bot's end; a visitor's browser keeps its own."""

Visitor: TypeAlias = "Person[Awaitable[Answers], Awaitable[Any]]"


class Line:
    """One application for all visitors, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._client = AsyncBotClient(BOT)
        # Ids go on after a restart: visitors' browsers keep the messages of earlier processes.
        self._client.telegram._ids = itertools.count(int(time.time()))
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="demo-bot", daemon=True).start()

    def send(self, chat_id: int, text: str) -> Answers:
        """Send a visitor's message to the bot and return what it did."""
        return self._talk(chat_id, lambda visitor: visitor.send(text))

    def press(self, chat_id: int, message: dict[str, Any], label: str, button: str) -> Answers:
        """Press a button, known by its label and callback data, below a message of the bot."""

        async def act(visitor: Visitor) -> Answers:
            below = message | {
                "date": int(time.time()),
                "chat": visitor.place.chat,
                "reply_markup": {"inline_keyboard": [[{"text": label, "callback_data": button}]]},
            }
            self._client.telegram.messages[chat_id, message["message_id"]] = below
            return await visitor.press(button, message=Message(below))

        return self._talk(chat_id, act)

    def _talk(self, chat_id: int, act: Callable[[Visitor], Awaitable[Answers]]) -> Answers:
        # In the request's context, asgiref would send the bot's database work to its thread.
        future = Context().run(
            asyncio.run_coroutine_threadsafe, self._answers(chat_id, act), self._loop
        )
        return future.result()

    async def _answers(self, chat_id: int, act: Callable[[Visitor], Awaitable[Answers]]) -> Answers:
        visitor: Visitor = self._client.user(guest(chat_id), id=chat_id)
        try:
            return await asyncio.wait_for(act(visitor), TIMEOUT)
        finally:
            self._forget()

    def _forget(self) -> None:
        telegram = self._client.telegram
        telegram.calls.clear()
        while len(telegram.messages) > MAX_MESSAGES:
            del telegram.messages[next(iter(telegram.messages))]


def guest(chat_id: int) -> str:
    """Return a visitor's name."""
    return f"Guest {chat_id % 10_000:04}"


_line: Line | None = None
_mutex = threading.Lock()


def line() -> Line:
    """Return this process's line; it is opened when somebody first speaks."""
    global _line
    with _mutex:
        if _line is None or _line.process != os.getpid():
            _line = Line()
        return _line
