"""Claims: who handles an update that came by webhook, once, however often it is delivered."""

from __future__ import annotations

import time

from django.apps import apps
from django.db import router

from ..exceptions import SessionConflict
from ..records import new_revision
from .rights import Right

CLAIM_SECONDS = 10.0
"""After so long the claim of a process that died may be taken over."""
KEPT_SECONDS = 24 * 3600.0
"""After so long Telegram does not deliver an update again; another one may have its id then."""


class AlreadyHandled(Exception):
    """The update was handled before."""


class ClaimedElsewhere(Exception):
    """Somebody else handles the update.

    ``seconds`` says how long its claim lasts if it is not renewed.
    """

    def __init__(self, claim: Claim, seconds: float) -> None:
        super().__init__(f"Somebody else handles update {claim.update_id} of bot '{claim.bot}'.")
        self.seconds = seconds


class Claim(Right):
    """One process's claim on an update, or a wish for it."""

    __slots__ = ("bot", "number", "until", "update_id")

    def __init__(self, bot: str, update_id: int) -> None:
        super().__init__(claims_database())
        self.bot = bot
        self.update_id = update_id
        self.number = new_revision()
        """Nobody else has ever had it."""
        self.until = 0.0
        """Nobody can take it over before, by the monotonic clock."""

    @property
    def parts(self) -> tuple[str, int, int]:
        """What stands in the table."""
        return self.bot, self.update_id, self.number

    @property
    def is_had(self) -> bool:
        return self.until > 0

    @property
    def is_certain(self) -> bool:
        """Whether nobody can have taken it over."""
        return self.until > time.monotonic()


def claims_database() -> str:
    """Return the alias of the database that claims are kept in."""
    return str(router.db_for_write(apps.get_model("botsessions", "HandledUpdate")))


def lost(claim: Claim) -> SessionConflict:
    return SessionConflict(
        f"Update {claim.update_id} of bot '{claim.bot}' has gone to another process, because this "
        "one could not renew its claim on the database in time. Nothing was written.",
        cut_off=True,
    )
