"""What is stored in a session, and what can be said of it: all that may be wrong is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from ..bots import all_bots
from ..declaration import Fragment
from ..exceptions import SessionDataError
from ..figures.incidents import last_refused
from ..finding import Age, State, age_of, state_of
from ..maintenance import declared
from ..maintenance.changing import address_of
from ..masking import HIDDEN, has_masks, mask, mask_text, masked_fields
from ..models import AbstractBotSession
from ..reading import UNKNOWN, UNREADABLE, data_of, text_of
from ..records import Address
from .editing import pretty
from .plain import visible

JUDGED_BYTES = 16 * 1024
"""Of many sessions only those that have no more than this are looked into."""
CANNOT_READ = gettext_noop("The bot cannot read this data.")
EXPIRED = _(
    "This session has expired: for the bot there is no data any more. What was stored is not "
    "shown, and the next sweep deletes it."
)


DUE = _(
    "Its time has come: the bot, if it runs, or the next sweep, does what is to be done, and then "
    "deletes it."
)


@dataclass(frozen=True)
class Problem:
    """Something that an operator has to know about stored data."""

    text: str | Promise
    is_error: bool = True


class Contents:
    """A session's data and what its bot declares of it.

    Args:
        session: one that was read :func:`.with_text`.
    """

    def __init__(self, session: AbstractBotSession) -> None:
        self.session = session

    @cached_property
    def data(self) -> Any:
        """What is stored, or ``UNREADABLE``, or ``UNKNOWN``."""
        return data_of(self.session)

    @property
    def raw(self) -> str:
        """What is stored where Python cannot read it; a word instead if masks may belong there."""
        return mask_text(text_of(self.session), masked_fields())

    @cached_property
    def text(self) -> str:
        """What is stored as people read and edit it, masked fields as masks."""
        if self.data is UNREADABLE:
            return visible(self.raw)
        return pretty(mask(self.data, masked_fields()))

    @property
    def has_masks(self) -> bool:
        """Whether there is a field that is masked."""
        return has_masks(self.data, masked_fields())

    @property
    def is_hidden(self) -> bool:
        """Whether nobody is shown what is stored."""
        return self.data is UNREADABLE and self.raw == HIDDEN

    @property
    def is_refused(self) -> bool:
        """Whether the bot does not take the data as it is, as far as that is known."""
        return not self.expired and bool(self.age == Age.NEWER or self._of_data)

    @property
    def is_unreadable(self) -> bool:
        """Whether the bot cannot read the data, nor make of it what it can read."""
        return self.is_refused or (self.has_failed and not self.expired)

    @cached_property
    def _declared(self) -> tuple[Fragment[Any] | None, str]:
        bot = all_bots().get(self.session.bot)
        if bot is not None and bot.is_elsewhere:
            return None, ""
        try:
            return declared(self.session.bot, self.session.name), ""
        except ImproperlyConfigured as exc:
            return None, str(exc)

    @property
    def fragment(self) -> Fragment[Any] | None:
        return self._declared[0]

    @property
    def age(self) -> Age | None:
        """How the data's version compares with the code's; ``None`` for an unknown bot."""
        if self.fragment is None:
            return None
        return age_of(self.session.version, self.fragment.newest_version)

    @property
    def has_failed(self) -> bool:
        """Whether the bot could not bring older data to its version, since that was stored."""
        if not hasattr(self.session, "has_failed"):
            note_failures([self.session])
        return bool(self.session.has_failed)  # type: ignore[attr-defined]

    @property
    def expired(self) -> bool:
        return state_of(self.session) == State.EXPIRED

    def problems(self, *, in_detail: bool = True) -> list[Problem]:
        """Return what stands between the stored data and the bot.

        Args:
            in_detail: with names of fields in the data.
        """
        if self.expired:
            return [Problem(EXPIRED, is_error=False)]
        found = list(self._of_declaration())
        if state_of(self.session) == State.DUE:
            found.append(Problem(DUE, is_error=False))
        if self._of_data:
            found.append(Problem(self._of_data if in_detail else gettext(CANNOT_READ)))
        return found

    @cached_property
    def _of_data(self) -> str:
        """What is wrong with the data; empty if nothing is, or nobody can tell."""
        if self.data is UNREADABLE:
            return gettext("The stored data is no JSON that Python can read.")
        known = self.data is not UNKNOWN and self.age == Age.CURRENT
        return self._misfit() if known else ""

    def _of_declaration(self) -> Iterator[Problem]:
        session, (fragment, error) = self.session, self._declared
        if error:
            yield Problem(gettext("The bot's settings are wrong: {error}").format(error=error))
        elif fragment is None:
            yield Problem(
                gettext(
                    "The settings know no bot {bot} with such a session, so nobody can tell "
                    "whether the data fits."
                ).format(bot=f"“{visible(session.bot)}”"),
                is_error=False,
            )
        elif self.age == Age.NEWER:
            yield Problem(
                gettext(
                    "The data has version {version}, which this code does not know. The bot "
                    "refuses it until the code that wrote it runs again."
                ).format(version=version_text(session))
            )
        elif self.has_failed:
            yield Problem(
                gettext(
                    "The data has version {version}. When the bot needed it last, it could not "
                    "bring it to {newest}: see the incidents."
                ).format(version=version_text(session), newest=fragment.newest_version)
            )
        elif self.age == Age.BEHIND:
            yield Problem(
                gettext(
                    "The data has version {version}. The bot migrates it to {newest} when it "
                    "reads it next."
                ).format(version=version_text(session), newest=fragment.newest_version),
                is_error=False,
            )

    def _misfit(self) -> str:
        assert self.fragment is not None
        try:
            self.fragment.codec.decode(self.data)
        except SessionDataError as exc:
            return gettext("The bot cannot read this data: {error}").format(error=exc)
        except Exception as exc:  # Of the author's own type.
            error = type(exc).__name__
            return gettext("The bot cannot read this data: {error}").format(error=error)
        return ""


def note_failures(sessions: Iterable[Any]) -> None:
    """Have sessions know whether migrations of theirs have failed, by a statement for all."""
    behind: dict[Address, Any] = {}
    fragments: dict[tuple[str, str], Fragment[Any] | None] = {}
    for session in sessions:
        session.has_failed = False
        place = session.bot, session.name
        if place not in fragments:  # A persistence is made anew each time.
            fragments[place] = Contents(session).fragment
        fragment = fragments[place]
        if fragment and age_of(session.version, fragment.newest_version) == Age.BEHIND:
            behind[address_of(session)] = session
    for address, at in last_refused(behind):
        behind[address].has_failed = at > behind[address].updated_at


def version_text(session: AbstractBotSession) -> str:
    """Return the version of a session's data as people write it."""
    return gettext("none") if session.version is None else f"{session.version.normalize():f}"
