"""What can be done to sessions: each an action of the admin, on the list and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..audit import CHANGE, DELETION
from ..downloads import download
from ..figures.numbers import grouped
from ..finding import Age, State, state_of
from ..maintenance import BATCH_SIZE, Batch, Migrate, changing
from ..maintenance.changing import batches_of_keys
from ..maintenance.people import erase, forget_those_gone, stored_elsewhere
from ..maintenance.taking_part import in_tables
from ..maintenance.versions import live
from ..models import AbstractBotSession
from ..records import Json
from ..updates import STAND_INS
from .affected import Affected
from .contents import Contents
from .operate import operate

COUNTED_USERS = 20
"""Of more users it is not counted how many sessions they have."""


class Operation:
    """An action: who may do it, what is asked before, and what it does, in batches."""

    do_not_call_in_templates = True  # Where only its texts are wanted.
    name: ClassVar[str]
    permission: ClassVar[str]
    """``view`` of ``ModelAdmin.has_view_permission()`` and so on."""
    short_description: ClassVar[str | Promise]
    explanation: ClassVar[str | Promise] = ""
    button: ClassVar[str | Promise]
    form: ClassVar[type[forms.Form]] = forms.Form
    can_be_undone = False
    flag: ClassVar[int] = CHANGE
    fields: ClassVar[tuple[str, ...]] = ()
    """The columns that it may change, for the log. That its size goes with data is understood."""
    is_safe = False
    """Whether nothing is lost by it: such ones stand apart."""
    is_anonymous = False
    """Whether the log is to say only how many sessions there were."""

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def allowed_permissions(self) -> list[str]:
        return [self.permission]

    def __call__(self, model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Ask, or do it: what Django calls for the list."""
        return operate(model_admin, request, self, queryset)

    def applies(self, contents: Contents) -> bool:
        """Whether there is anything to do to a session."""
        return True

    def concerned(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of some sessions for which there is something to do."""
        return sessions

    def affected(self, sessions: QuerySet[Any]) -> Affected:
        """Return which sessions it is going to be done to."""
        concerned = self.concerned(sessions)
        count = concerned.order_by().count()
        others = 0 if concerned is sessions else sessions.order_by().count() - count
        text = ngettext(
            "For {n} there is nothing to do.", "For {n} there is nothing to do.", others
        )
        return Affected(count, concerned, text.format(n=grouped(others)) if others > 0 else "")

    def result(self, contents: Contents) -> Json:
        """Return what a session's data becomes, ``None`` where that is nothing to be shown.

        Raises:
            Exception: it cannot be done; :func:`.changing.reason` says what may be told of it.
        """
        return None

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        """Do it, and yield what each batch has done.

        Args:
            chosen: what the form says.
            by: who does it, like ``admin:1``.
        """
        raise NotImplementedError

    def response(self, request: HttpRequest, sessions: QuerySet[Any]) -> HttpResponseBase | None:
        """Return what the browser gets instead of a page that says what was done."""
        return None


class Expire(Operation):
    name = "expire"
    permission = "change"
    can_be_undone = True
    short_description = _("Expire now")
    explanation = _(
        "For their bots these sessions hold no data any more: the next update starts anew. Jobs "
        "are run. Sessions that have expired already stay as they are."
    )
    button = _("Expire now")
    fields = ("expires_at",)

    def applies(self, contents: Contents) -> bool:
        return state_of(contents.session) in (State.LIVE, State.SOON)

    def concerned(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        return changing.lasting(sessions)

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        return changing.expire(sessions, by=by)


class ExtendForm(forms.Form):
    UNITS: ClassVar = [("hours", _("hours")), ("days", _("days")), ("weeks", _("weeks"))]

    amount = forms.IntegerField(label=_("From now on, for"), min_value=1, max_value=5000, initial=7)
    unit = forms.ChoiceField(label=_("Unit"), choices=UNITS, initial="days")

    @property
    def length(self) -> timedelta:
        return timedelta(**{self.cleaned_data["unit"]: self.cleaned_data["amount"]})


class Extend(Operation):
    name = "extend"
    permission = "change"
    short_description = _("Extend")
    explanation = _(
        "These sessions live for at least so long from now; expired ones live again. Jobs wait for "
        "so long. Sessions that never expire, or later than that, stay as they are."
    )
    button = _("Extend")
    form = ExtendForm
    fields = ("expires_at",)
    is_safe = True

    def applies(self, contents: Contents) -> bool:
        return contents.session.expires_at is not None

    def concerned(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        return sessions.exclude(expires_at=None)

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        return changing.extend(sessions, timedelta(**{chosen["unit"]: chosen["amount"]}), by=by)


class Reset(Operation):
    name = "reset"
    permission = "change"
    can_be_undone = True
    short_description = _("Reset to initial")
    explanation = _(
        "The data is replaced by what the bot gives to a new chat. What was stored can be had back "
        "for some days, unless it is nothing that the bot could read."
    )
    button = _("Reset")
    fields = ("data", "version", "expires_at")

    def applies(self, contents: Contents) -> bool:
        return contents.fragment is not None and contents.fragment.initial is not None

    def result(self, contents: Contents) -> Json:
        return changing.initial_record(changing.address_of(contents.session)).value

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        return changing.reset(sessions, by=by)


class MigrateNow(Operation):
    name = "migrate"
    permission = "change"
    short_description = _("Migrate")
    explanation = _(
        "Brings the data of an older version to the newest one by the bot's own migrations, as the "
        "bot does when it reads it. Other sessions, and expired ones, stay as they are."
    )
    button = _("Migrate")
    fields = ("data", "version")
    is_safe = True

    def applies(self, contents: Contents) -> bool:
        return contents.age == Age.BEHIND and not contents.expired

    def concerned(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        return Migrate().older(sessions)

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        behind = self.concerned(sessions).defer(None)
        return Migrate().run(sessions.model, sessions.db, among=behind)


class Delete(Operation):
    name = "delete_selected"  # Takes the place of Django's, which loads every row.
    permission = "delete"
    short_description = _("Delete")
    explanation = _("What was stored is lost. The next update starts anew.")
    button = _("Delete")
    flag = DELETION

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        return changing.delete(sessions)


class Export(Operation):
    name = "export"
    permission = "export"
    short_description = _("Export as JSON lines")
    explanation = _(
        "You get a file with a line for each session, its data included. Expired sessions are "
        "left out, and masked fields are masks."
    )
    button = _("Export")
    is_safe = True

    def applies(self, contents: Contents) -> bool:
        return not contents.expired

    def concerned(self, sessions: QuerySet[Any]) -> QuerySet[Any]:
        found: QuerySet[Any] = live(sessions)
        return found

    def response(self, request: HttpRequest, sessions: QuerySet[Any]) -> HttpResponseBase:
        return download(request, self.concerned(sessions).defer(None))


class ForgetUser(Operation):
    name = "forget_user"
    permission = "delete"
    short_description = _("Forget user")
    button = _("Forget")
    is_anonymous = True
    flag = DELETION
    explanation = _(
        "Everything that the bots remember of these users is erased: every session in which they "
        "take part, in all bots, not only those below."
    )

    def applies(self, contents: Contents) -> bool:
        return person_of(contents.session) is not None

    def affected(self, sessions: QuerySet[Any]) -> Affected:
        users = list(islice(users_of(sessions), COUNTED_USERS + 1))
        if len(users) > COUNTED_USERS:
            return Affected(None, None, gettext("More than {n} users.").format(n=COUNTED_USERS))
        text = ngettext("{n} user.", "{n} users.", len(users)).format(n=len(users))
        found = [of for user in users for of in in_tables(user, None, None)]
        elsewhere = sum(len(list(stored_elsewhere(user, None, None))) for user in users)
        if elsewhere:
            besides = ngettext(
                "{n} further session stands outside the database.",
                "{n} further sessions stand outside the database.",
                elsewhere,
            )
            text = f"{text} {besides.format(n=elsewhere)}"
        return Affected.of(found, text)

    def run(
        self, sessions: QuerySet[Any], chosen: Mapping[str, Any], by: str = ""
    ) -> Iterator[Batch]:
        for user in users_of(sessions):
            yield Batch(erase(user))
        forget_those_gone()


def users_of(sessions: QuerySet[Any]) -> Iterator[int]:
    """Yield the users whose sessions these are; a private chat has the id of its user.

    Nobody is to be forgotten by an id that Telegram gives to many.
    """
    seen = set[int]()
    for keys in batches_of_keys(sessions, BATCH_SIZE):
        people = sessions.model._default_manager.using(sessions.db).filter(pk__in=keys)
        for one in people.only("user_id", "chat_id"):
            person = person_of(one)
            if person is not None and person not in seen:
                seen.add(person)
                yield person


def person_of(session: AbstractBotSession) -> int | None:
    """Return the user whose session it is, if that is a person."""
    person = session.user_id if session.user_id is not None else session.chat_id
    return person if person is not None and person > 0 and person not in STAND_INS else None


OPERATIONS = (
    *(Expire(), Extend(), Reset(), MigrateNow()),
    *(Export(), Delete(), ForgetUser()),
)
