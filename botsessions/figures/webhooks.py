"""What Telegram says of the webhooks, asked in a thread of its own so that nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections
from django.utils import timezone

from ..bots import Bot, all_bots
from ..forking import at_fork
from ..logs import hide, tokens_hidden
from ..ptb.account import Info, TelegramRefused, account, asked

Call: TypeAlias = "Callable[[], Coroutine[Any, Any, Info]]"

FRESH_SECONDS = 60.0
"""So long an answer is not asked for again."""
ANSWER_SECONDS = 10.0
"""So long Telegram may take to answer."""


@dataclass(frozen=True)
class Said:
    """What Telegram said of a bot, or why it did not."""

    at: datetime
    info: Info | None = None
    problem: str = ""


class Telegram:
    """Asks Telegram, and remembers what it said."""

    def __init__(self) -> None:
        self._said: dict[str, Said] = {}
        self._asked_at = float("-inf")
        self._asking: threading.Thread | None = None
        self._changed = threading.Condition()

    def says(self, patience: float) -> dict[str, Said | None]:
        """Return what Telegram last said of each bot with a token.

        What is older than a minute is asked for again, in a thread.

        Args:
            patience: wait for an answer for so many seconds; ``None`` is returned for bots of whom
                there is none.
        """
        bots = [bot for bot in all_bots().values() if bot.token and not bot.is_elsewhere]
        with self._changed:
            if bots and time.monotonic() - self._asked_at > FRESH_SECONDS:
                self._begin(bots)
            self._changed.wait_for(lambda: self._asking is None, patience)
            return {bot.alias: self._said.get(bot.alias) for bot in bots}

    def _begin(self, bots: Sequence[Bot]) -> None:
        if self._asking is None:
            name = "botsessions asks Telegram"
            thread = threading.Thread(target=self._ask, args=(bots,), name=name, daemon=True)
            thread.start()
            self._asking = thread

    def _ask(self, bots: Sequence[Bot]) -> None:
        try:
            with tokens_hidden():
                calls = list(self._calls(bots))  # One after the other: authors' functions.
                asyncio.run(self._all_of(calls))
        finally:
            connections.close_all()  # An author's function may have used them.
            with self._changed:
                self._asking, self._asked_at = None, time.monotonic()
                self._changed.notify_all()

    def _calls(self, bots: Sequence[Bot]) -> Iterator[tuple[Bot, Call]]:
        for bot in bots:
            try:
                yield bot, account(bot, asked)
            except ImproperlyConfigured as exc:
                self._note(bot, Said(timezone.now(), problem=hide(str(exc))))
            except Exception as exc:  # Of the author's function.
                self._note(bot, Said(timezone.now(), problem=type(exc).__name__))

    async def _all_of(self, calls: Sequence[tuple[Bot, Call]]) -> None:
        await asyncio.gather(*(self._one(bot, call) for bot, call in calls))

    async def _one(self, bot: Bot, call: Call) -> None:
        try:
            info = await asyncio.wait_for(call(), ANSWER_SECONDS)
        except TelegramRefused as exc:
            self._note(bot, Said(timezone.now(), problem=str(exc)))
        except asyncio.TimeoutError:
            self._note(bot, Said(timezone.now(), problem=f"No answer in {ANSWER_SECONDS:.0f} s."))
        else:
            self._note(bot, Said(timezone.now(), info))

    def _note(self, bot: Bot, said: Said) -> None:
        with self._changed:
            self._said[bot.alias] = said


_telegram = Telegram()


def telegram_says(patience: float = 0.0) -> dict[str, Said | None]:
    return _telegram.says(patience)


def forget(**kwargs: Any) -> None:
    """Begin anew: in a process that was forked, or with other settings, as tests have."""
    global _telegram
    _telegram = Telegram()


setting_changed.connect(forget, dispatch_uid="botsessions.figures.webhooks")
at_fork(after_in_child=forget)
