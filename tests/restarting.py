"""A bot that is started anew before every update that it handles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from botsessions.testing import AsyncBotClient, Person


class Restarting:
    """Somebody who talks to a bot of which nothing is left in memory between two updates."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._client = AsyncBotClient(build=build)
        self._place = self._client.user("Maria", id=5).place
        self.answers: Any = None

    async def send(self, text: str, **fields: Any) -> Any:
        return await (await self._person()).send(text, **fields)

    async def press(self, button: str, **options: Any) -> Any:
        return await (await self._person()).press(button, **options)

    async def wait(self, length: timedelta) -> Any:
        """Let it be later, and the bot, which is started anew, do what is due by then."""
        return await (await self._person()).client.let_time_pass(length)

    async def _person(self) -> Person[Any, Any]:
        await self.stop()
        before = self._client.conversation
        self._client = AsyncBotClient(build=self._build)
        telegram, updates = self._client.conversation.telegram, self._client.conversation.updates
        telegram.messages, telegram.chats = before.telegram.messages, before.telegram.chats
        telegram._ids = before.telegram._ids
        updates._update_ids = before.updates._update_ids
        return Person(self._client, self._place)

    async def stop(self) -> None:
        await self._client.conversation.close()
