"""What went wrong with sessions: the list, and the part of a session's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..figures.incidents import IncidentFigures, incidents_of
from ..figures.numbers import grouped
from ..models import AbstractBotSession, BotSession, Incident
from ..permissions import may
from .asked import may_narrow
from .filters import BotFilter
from .moments import moment
from .plain import plain

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Incident]
else:  # Subscriptable for type checkers only.
    _ModelAdmin = admin.ModelAdmin

SHOWN = 5
"""So many stand on a session's page."""


class Shown(NamedTuple):
    """An incident on a session's page."""

    kind: str
    often: str
    by: str
    error: str
    message: str
    when: SafeString | str


class Counted(NamedTuple):
    """Incidents of one kind on the overview."""

    label: str
    bot: str
    often: str
    url: str


def by_text(by: str) -> str:
    """Return who it was, as people read it: "Update 7", "Job remind"."""
    kind, _colon, name = by.partition(":")
    patterns = {"update": gettext("Update {name}"), "job": gettext("Job {name}")}
    return patterns[kind].format(name=plain(name)) if kind in patterns else plain(by)


def times(count: int) -> str:
    return ngettext("{n} time", "{n} times", count).format(n=grouped(count))


def of_session(session: AbstractBotSession, may_see: bool) -> list[Shown]:
    """Return the last incidents of a session.

    Args:
        may_see: whether names of fields in the data may be shown.
    """
    return [
        Shown(
            row.get_kind_display(),
            times(row.count) if row.count > 1 else "",
            by_text(row.by),
            row.error,
            plain(row.message) if may_see else "",
            moment(row.last_at),
        )
        for row in incidents_of(session).order_by("-last_at")[:SHOWN]
    ]


def counted(
    request: HttpRequest, site: AdminSite, found: Sequence[IncidentFigures]
) -> Iterator[Counted]:
    """Yield what the overview says of the last day."""
    listed = listing(request, site)
    for one in found:
        query = urlencode({"bot": one.bot, "kind__exact": one.kind})
        url = f"{listed}?{query}" if listed else ""
        label = Incident(kind=one.kind).get_kind_display()
        yield Counted(label, one.bot, times(one.count), url)


def listing(request: HttpRequest, site: AdminSite) -> str:
    """Return where incidents are listed, for those who may see them there."""
    if not site.is_registered(Incident):
        return ""
    if not site.get_model_admin(Incident).has_view_permission(request):
        return ""
    return reverse("admin:botsessions_incident_changelist", current_app=site.name)


def listing_of(request: HttpRequest, site: AdminSite, session: AbstractBotSession) -> str:
    """Return where all incidents of a session are listed."""
    listed = listing(request, site)
    query = urlencode({"q": session.key, "bot": session.bot})
    return f"{listed}?{query}" if listed else ""


class IncidentAdmin(_ModelAdmin):
    """Incidents can be looked at, and nothing else: a sweep deletes them."""

    list_display = ("kind", "whose", "bot", "times", "what", "by_whom", "last")
    list_display_links = None
    list_filter = ("kind", BotFilter, ("last_at", admin.DateFieldListFilter))
    list_per_page = 50
    search_fields = ("key__exact",)
    search_help_text = _("The exact session key.")
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-last_at",)
    actions = None
    change_list_template = "admin/change_list.html"  # Not that of sessions.

    class Media:
        css: ClassVar = {"all": ["botsessions/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    def has_messages_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may see messages, which name fields of the data."""
        return may(request.user, BotSession, "view_contents")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        found = super().get_queryset(request)
        return found if self.has_messages_permission(request) else found.defer("message")

    def get_exclude(self, request: HttpRequest, obj: Incident | None = None) -> list[str]:
        return [] if self.has_messages_permission(request) else ["message"]

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Refuse to filter by messages: that would tell people what they may not see."""
        allowed = super().lookup_allowed(lookup, value, request)
        return bool(allowed and may_narrow(lookup, value, hidden="message"))

    @admin.display(description=_("chat or user"))
    def whose(self, incident: Incident) -> SafeString | str:
        """Return the key, and where sessions of that key are found."""
        if not incident.key:
            return gettext("Several sessions")
        key = f"{incident.name}: {incident.key}" if incident.name else incident.key
        if not self.admin_site.is_registered(BotSession):
            return plain(key)
        listed = reverse("admin:botsessions_botsession_changelist", current_app=self._site)
        query = urlencode({"q": incident.key, "bot": incident.bot})
        return format_html('<a href="{}?{}">{}</a>', listed, query, plain(key))

    @property
    def _site(self) -> str:
        return str(self.admin_site.name)

    @admin.display(description=_("count"))
    def times(self, incident: Incident) -> str:
        return grouped(incident.count)

    @admin.display(description=_("error"))
    def what(self, incident: Incident) -> SafeString:
        message = "" if "message" in incident.get_deferred_fields() else plain(incident.message)
        return format_html('{} <span class="bs-where">{}</span>', incident.error, message)

    @admin.display(description=_("by"))
    def by_whom(self, incident: Incident) -> str:
        return by_text(incident.by)

    @admin.display(description=_("last"))
    def last(self, incident: Incident) -> SafeString | str:
        return moment(incident.last_at)
