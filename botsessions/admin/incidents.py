"""What went wrong with sessions: the list, and the part of a session's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..figures.incidents import LATELY, IncidentFigures, incidents_of
from ..figures.numbers import grouped
from ..maintenance import declared
from ..models import AbstractBotSession, BotSession, Incident
from ..permissions import may
from ..storages import DatabaseStorage
from . import columns
from .asked import may_narrow
from .filters import BotFilter
from .moments import moment
from .plain import visible

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
    return patterns[kind].format(name=visible(name)) if kind in patterns else visible(by)


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
            visible(row.error),
            visible(row.message) if may_see else "",
            moment(row.last_at),
        )
        for row in incidents_of(session).order_by("-last_at")[:SHOWN]
    ]


def counted(
    request: HttpRequest, site: AdminSite, found: Sequence[IncidentFigures], now: datetime
) -> Iterator[Counted]:
    """Yield what the overview says of the last day."""
    listed, since = listing(request, site), (now - LATELY).isoformat()
    for one in found:
        query = urlencode({"bot": one.bot, "kind__exact": one.kind, "last_at__gte": since})
        url = f"{listed}?{query}" if listed else ""
        label = Incident(kind=one.kind).get_kind_display()
        yield Counted(label, visible(one.bot), times(one.count), url)


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
    return f"{listed}?{exactly(session)}" if listed else ""


def exactly(of: AbstractBotSession | Incident) -> str:
    """Return what narrows a list to a session, or to its incidents."""
    return urlencode({"bot": of.bot, "name__exact": of.name, "key__exact": of.key})


def sessions_url(request: HttpRequest, site: AdminSite, incident: Incident) -> str:
    """Return where the session of an incident is listed, for those who may see it there."""
    model = model_of(incident)
    model_admin = site.get_model_admin(model) if model and site.is_registered(model) else None
    if model_admin is None or not model_admin.has_view_permission(request):
        return ""
    options = model_admin.opts
    pattern = f"admin:{options.app_label}_{options.model_name}_changelist"
    return f"{reverse(pattern, current_app=site.name)}?{exactly(incident)}"


def model_of(incident: Incident) -> type[AbstractBotSession] | None:
    """Return the model of the session's table; ``None`` if it is in none."""
    try:
        fragment = declared(incident.bot, incident.name)
    except ImproperlyConfigured:
        fragment = None
    storage = DatabaseStorage() if fragment is None else fragment.innermost
    return storage.model if isinstance(storage, DatabaseStorage) else None


class IncidentAdmin(_ModelAdmin):
    """Incidents can be looked at, and nothing else: a sweep deletes them."""

    list_display = ("kind", "bot", "times", "what", "by_whom", "last")
    list_display_links = None
    list_filter = ("kind", BotFilter, ("last_at", admin.DateFieldListFilter))
    list_per_page = 50
    search_fields = ("key",)
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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Incident], search_term: str
    ) -> tuple[QuerySet[Incident], bool]:
        """Find a key as it is: Django would look for each of its words."""
        return queryset.filter(key=search_term) if search_term else queryset, False

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        @admin.display(description=_("chat or user"))
        def whose(incident: Incident) -> SafeString | str:
            return self.whose(request, incident)

        kind, *others = super().get_list_display(request)
        return [kind, whose, *(columns.bot if c == "bot" else c for c in others)]

    def whose(self, request: HttpRequest, incident: Incident) -> SafeString | str:
        """Return the key, and where its session is found."""
        if not incident.key:
            return gettext("Several sessions")
        key = visible(f"{incident.name}: {incident.key}" if incident.name else incident.key)
        url = sessions_url(request, self.admin_site, incident)
        return format_html('<a href="{}">{}</a>', url, key) if url else key

    @admin.display(description=_("count"))
    def times(self, incident: Incident) -> str:
        return grouped(incident.count)

    @admin.display(description=_("error"))
    def what(self, incident: Incident) -> SafeString:
        message = "" if "message" in incident.get_deferred_fields() else visible(incident.message)
        return format_html('{} <span class="bs-where">{}</span>', visible(incident.error), message)

    @admin.display(description=_("by"))
    def by_whom(self, incident: Incident) -> str:
        return by_text(incident.by)

    @admin.display(description=_("last"))
    def last(self, incident: Incident) -> SafeString | str:
        return moment(incident.last_at)
