"""Rights that a process has for a time on a database, unless it renews them."""

from __future__ import annotations

import os
import sys


class Right:
    """A lease or a claim, or a wish for one."""

    __slots__ = ("asking", "ends_at", "given_up", "is_over", "process", "using", "was_asked_for")

    def __init__(self, using: str) -> None:
        self.using = using
        self.process = os.getpid()
        """Whose right it is; a forked child gives nothing back of its parent's."""
        self.asking = 0
        """How many requests under way may get it."""
        self.was_asked_for = False
        self.given_up = False
        """Whether nobody wants it any more."""
        self.is_over = False
        """Whether there is nothing to be given back any more, because a write has ended it."""
        self.ends_at = 0.0
        """From when on there is no use in giving it back, by the monotonic clock."""

    @property
    def is_had(self) -> bool:
        """Whether it is to be renewed."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Have it given back soon, whether it is had or only asked for, without waiting for that.

        It may be called from anywhere, and again.
        """
        if not self.given_up:
            self.given_up = True
            # When Python is shutting down, it ends by itself.
            if self.is_to_be_given_back and not sys.is_finalizing():
                from .keeper import keeper_of  # noqa: PLC0415 (which keeps rights)

                keeper_of(self.using).give_back(self)

    @property
    def is_to_be_given_back(self) -> bool:
        """Whether nobody wants it, and it may be had."""
        is_left = self.given_up and self.was_asked_for and not self.asking and not self.is_over
        return is_left and self.process == os.getpid()
