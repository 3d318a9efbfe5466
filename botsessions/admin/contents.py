"""What is stored in a session, and what can be said of it: all that may be wrong is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..bots import all_bots
from ..cell import Fragment
from ..exceptions import SessionDataError
from ..finding import Age, State, age_of, state_of
from ..maintenance import declared
from ..models import AbstractBotSession
from ..reading import UNREADABLE

EXPIRED = _(
    "This session has expired: for the bot there is no data any more. What was stored is not "
    "shown, and the next sweep deletes it."
)


@dataclass(frozen=True)
class Problem:
    """Something that an operator has to know about stored data."""

    text: str | Promise
    is_error: bool = True


class Contents:
    """A session's data and what its bot declares of it.

    ``data`` is ``UNREADABLE`` where Python cannot read it.
    """

    def __init__(self, session: AbstractBotSession, data: Any) -> None:
        self.session = session
        self.data = data

    @cached_property
    def _declared(self) -> tuple[Fragment[Any] | None, str]:
        bot = all_bots().get(self.session.bot)
        if bot is not None and not bot.settings.get("SESSION"):  # It runs elsewhere.
            return None, ""
        try:
            return declared(self.session.bot, self.session.name), ""
        except (ImproperlyConfigured, AttributeError) as exc:
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
    def expired(self) -> bool:
        return state_of(self.session) == State.EXPIRED

    def problems(self) -> list[Problem]:
        """Return what stands between the stored data and the bot."""
        found = self.problems_of_declaration()
        if self.expired:
            return found
        if self.data is UNREADABLE:
            found.append(Problem(gettext("The stored data is no JSON that Python can read.")))
        elif self.age == Age.CURRENT and (misfit := self._misfit()):
            found.append(Problem(misfit))
        return found

    def problems_of_declaration(self) -> list[Problem]:
        """Return those that can be known without a look at the data."""
        if self.expired:
            return [Problem(EXPIRED, is_error=False)]
        return list(self._of_declaration())

    def _of_declaration(self) -> Iterator[Problem]:
        session, (fragment, error) = self.session, self._declared
        if error:
            yield Problem(gettext("The bot's settings are wrong: {error}").format(error=error))
        elif fragment is None:
            yield Problem(
                gettext(
                    "The settings know no bot {bot} with such a session, so nobody can tell "
                    "whether the data fits."
                ).format(bot=f"“{session.bot}”"),
                is_error=False,
            )
        elif self.age == Age.NEWER:
            yield Problem(
                gettext(
                    "The data has version {version}, which this code does not know. The bot "
                    "refuses it until the code that wrote it runs again."
                ).format(version=version_text(session))
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


def version_text(session: AbstractBotSession) -> str:
    """Return the version of a session's data as people write it."""
    return gettext("none") if session.version is None else f"{session.version.normalize():f}"
