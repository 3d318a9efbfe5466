"""An update on its way from Telegram by webhook: claimed, handled, noted."""

from __future__ import annotations

from ..database.claims import AlreadyHandled, Claim, ClaimedElsewhere
from ..unit import Unit


class Delivery:
    """One attempt to handle an update, and what has become of it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.was_handled_before = False
        self.elsewhere: float | None = None
        """For how many seconds another process has claimed it, if it does not renew that."""
        self.has_failed = False
        """Whether Telegram has to deliver it again: no handler was given it, as a storage or a lock
        failed, or its change was refused as this process was cut off."""

    def note(self, unit: Unit) -> None:
        """Take note of how its unit of work has ended."""
        error = unit.error
        self.was_handled_before = isinstance(error, AlreadyHandled)
        if isinstance(error, ClaimedElsewhere):
            self.elsewhere = error.seconds
        elif not self.was_handled_before:
            self.has_failed = unit.unloaded or unit.cut_off
