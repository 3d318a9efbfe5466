"""Which process runs the jobs that each of them schedules when it starts."""

from __future__ import annotations

import logging

from .claims import Claim, Claims

logger = logging.getLogger(__name__)

JOBS = -1
"""Claimed in place of an update, whose ids are positive."""


class JobLease:
    """A claim on a bot's jobs that lasts as long as the process that has it."""

    def __init__(self, claims: Claims, bot: str) -> None:
        self._claims = claims
        self._claim = Claim(bot, JOBS)
        self._wanted = False

    @property
    def is_held(self) -> bool:
        """Whether no other process runs the jobs."""
        return self._claims.holds(self._claim)

    async def want(self) -> None:
        """Take it now if nobody has it, or later, when nobody has it any more."""
        self._wanted = True
        try:
            await self.keep()
        except Exception:
            logger.exception("Bot %r runs no jobs yet.", self._claim.bot)

    async def keep(self) -> None:
        """Take it if it is wanted and nobody has it."""
        if self._wanted and not self.is_held:
            await self._claims.take_over(self._claim)

    async def release(self) -> None:
        """Let another process take it."""
        if self._wanted:
            self._wanted = False
            await self._claims.release(self._claim)
