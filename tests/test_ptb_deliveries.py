"""Which updates are confirmed to Telegram, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from telegram import Update
from telegram.error import InvalidToken, NetworkError, TimedOut

from botsessions.ptb import deliveries
from botsessions.ptb.deliveries import LIMIT, Deliveries

pytestmark = pytest.mark.once


class Telegram:
    """Has updates for a bot, and an updater that fetches them through deliveries."""

    def __init__(self, updates: int) -> None:
        self.updates = [Update(number) for number in range(1, updates + 1)]
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.bot = self
        self.running = True
        self.deliveries = Deliveries(self)  # type: ignore[arg-type]

    async def get_updates(self, **parameters: Any) -> Sequence[Update]:
        self.calls.append(parameters)
        if self.error is not None:
            raise self.error
        offset = parameters["offset"] or 0
        return [u for u in self.updates if u.update_id >= offset][: parameters.get("limit", LIMIT)]

    async def shutdown(self) -> None:
        self.error = None

    async def initialize(self) -> None:
        assert self.error is None

    async def fetch(self, offset: int = 0) -> list[Update]:
        """Fetch as PTB does, which would confirm all before ``offset``."""
        return list(await self.deliveries.get_updates(offset=offset, timeout=10))

    @property
    def last_call(self) -> tuple[int, int]:
        return self.calls[-1]["offset"], self.calls[-1]["timeout"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(deliveries, "LONGEST_PAUSE", 0.002)


def handle(telegram: Telegram, *updates: Update) -> None:
    for update in updates:
        with telegram.deliveries.handling(update):
            pass


async def cancelled(telegram: Telegram, update: Update) -> None:
    with pytest.raises(asyncio.CancelledError), telegram.deliveries.handling(update):
        raise asyncio.CancelledError


def test_what_has_been_handled_is_confirmed_and_telegram_may_wait() -> None:
    async def scenario() -> None:
        telegram = Telegram(2)
        handle(telegram, *await telegram.fetch())
        assert await telegram.fetch(3) == []
        assert telegram.last_call == (3, 10)

    asyncio.run(scenario())


def test_what_is_being_handled_is_not_confirmed_nor_fetched_again() -> None:
    async def scenario() -> None:
        telegram = Telegram(3)
        first, second, third = await telegram.fetch()
        handle(telegram, first, third)
        telegram.updates.append(Update(4))
        with telegram.deliveries.handling(second):
            assert [update.update_id for update in await telegram.fetch(4)] == [4]
            assert telegram.last_call == (2, 0)

    asyncio.run(scenario())


def test_an_update_whose_handling_failed_is_confirmed_but_not_a_cancelled_one() -> None:
    async def scenario() -> None:
        telegram = Telegram(2)
        first, second = await telegram.fetch()
        with pytest.raises(SystemExit), telegram.deliveries.handling(first):
            raise SystemExit
        await cancelled(telegram, second)
        await telegram.fetch(3)
        assert telegram.last_call == (2, 0)

    asyncio.run(scenario())


def test_an_update_that_its_own_handler_has_cancelled_does_not_hide_newer_ones_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        telegram = Telegram(LIMIT + 10)
        first, *others = await telegram.fetch()
        await cancelled(telegram, first)
        handle(telegram, *others)
        assert await telegram.fetch(LIMIT + 1) == []
        assert telegram.last_call == (1, 0)
        monkeypatch.setattr(deliveries, "PATIENCE", 0)
        assert len(await telegram.fetch(LIMIT + 1)) == 10
        assert telegram.last_call == (LIMIT + 1, 10)

    asyncio.run(scenario())


def test_confirmation_follows_as_soon_as_all_has_been_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "SHORTEST_PAUSE", 3600)

    async def scenario() -> None:
        telegram = Telegram(1)
        (update,) = await telegram.fetch()
        fetching = asyncio.create_task(telegram.fetch(2))
        await asyncio.sleep(0)
        assert len(telegram.calls) == 1
        handle(telegram, update)
        await asyncio.wait_for(fetching, 10)
        assert telegram.last_call == (2, 10)

    asyncio.run(scenario())


def test_many_slow_handlers_do_not_keep_new_updates_away_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        telegram = Telegram(LIMIT + 10)
        with ExitStack() as handlers:
            for update in await telegram.fetch():
                handlers.enter_context(telegram.deliveries.handling(update))
            for _ in range(3):
                assert await telegram.fetch(LIMIT + 1) == []
            monkeypatch.setattr(deliveries, "PATIENCE", 0)
            assert await telegram.fetch(LIMIT + 1) == []
            assert len(await telegram.fetch(LIMIT + 1)) == 10
            assert telegram.last_call == (LIMIT // 2 + 1, 0)

    asyncio.run(scenario())


def test_updates_that_wait_for_their_turn_are_not_confirmed_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "PATIENCE", 0)

    async def scenario() -> None:
        telegram = Telegram(2 * LIMIT)
        first, *_ = await telegram.fetch()
        with telegram.deliveries.handling(first):
            for _ in range(5):
                await telegram.fetch(LIMIT + 1)
            assert telegram.last_call == (2, 0)

    asyncio.run(scenario())


def test_a_failed_call_confirms_nothing_yet() -> None:
    async def scenario() -> None:
        telegram = Telegram(1)
        handle(telegram, *await telegram.fetch())
        telegram.error = NetworkError("broken")
        with pytest.raises(NetworkError):
            await telegram.fetch(2)
        telegram.error = None
        await telegram.deliveries.confirm()
        assert telegram.calls[-1] == {"offset": 2, "limit": 1, "timeout": 0}

    asyncio.run(scenario())


def test_at_the_end_only_what_has_been_handled_is_confirmed() -> None:
    async def scenario() -> None:
        telegram = Telegram(2)
        first, _ = await telegram.fetch()
        telegram.running = False
        assert await telegram.fetch(3) == []  # PTB's own last call
        assert len(telegram.calls) == 1
        handle(telegram, first)
        await telegram.deliveries.confirm()
        assert telegram.calls[-1] == {"offset": 2, "limit": 1, "timeout": 0}

    asyncio.run(scenario())


def test_the_end_is_confirmed_though_the_last_call_has_kept_the_connection() -> None:
    async def scenario() -> None:
        telegram = Telegram(1)
        handle(telegram, *await telegram.fetch())
        telegram.error = TimedOut("All connections in the connection pool are occupied.")
        await telegram.deliveries.confirm()
        assert len(telegram.calls) == 3
        assert telegram.calls[-1] == {"offset": 2, "limit": 1, "timeout": 0}

    asyncio.run(scenario())


def test_nothing_is_confirmed_where_nothing_came() -> None:
    async def scenario() -> None:
        telegram = Telegram(0)
        await telegram.fetch()
        await telegram.deliveries.confirm()
        assert len(telegram.calls) == 1

    asyncio.run(scenario())


def test_a_confirmation_that_fails_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        telegram = Telegram(1)
        handle(telegram, *await telegram.fetch())
        telegram.error = NetworkError("broken")
        await telegram.deliveries.confirm()

    asyncio.run(scenario())
    assert "will deliver updates again" in caplog.text


def test_a_refused_token_is_told() -> None:
    async def scenario() -> None:
        telegram = Telegram(0)
        telegram.error = InvalidToken("refused")
        with pytest.raises(InvalidToken):
            await telegram.fetch()
        assert await telegram.deliveries.refusal is telegram.error

    asyncio.run(scenario())


def test_an_update_is_a_delivery_once_and_what_the_bot_feeds_is_none() -> None:
    async def scenario() -> None:
        telegram = Telegram(2)
        (first, second) = await telegram.fetch()
        for update, expected in ((first, True), (first, False), (Update(2), False), (second, True)):
            with telegram.deliveries.handling(update) as is_delivery:
                assert is_delivery is expected

    asyncio.run(scenario())
