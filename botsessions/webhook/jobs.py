"""Which process runs the jobs that each of them schedules when it starts."""

from __future__ import annotations

import logging

from ..database.claims import Claim, ClaimedElsewhere
from ..database.transaction import DatabaseTransaction

logger = logging.getLogger(__name__)

JOBS = -1
"""Claimed in place of an update, whose ids are positive."""


class JobLease:
    """A claim on a bot's jobs that lasts as long as the process that has it."""

    def __init__(self, bot: str) -> None:
        self._claim = Claim(bot, JOBS)
        self._wanted = False

    @property
    def is_held(self) -> bool:
        """Whether no other process runs the jobs."""
        return self._claim.is_certain

    async def want(self) -> None:
        """Take it now if nobody has it, or later, when nobody has it any more."""
        self._wanted = True
        await self.keep()

    async def keep(self) -> None:
        """Take it if it is wanted and nobody has it."""
        if not self._wanted or self.is_held:
            return
        try:
            await DatabaseTransaction(self._claim.using, {}, claim=self._claim).read([])
        except ClaimedElsewhere:
            pass
        except Exception:
            logger.exception("Bot %r runs no jobs yet.", self._claim.bot)

    def release(self) -> None:
        """Let another process take it."""
        if self._wanted:
            self._wanted = False
            self._claim.give_up()
