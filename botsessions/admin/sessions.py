"""The admin of sessions: what Django asks it. Its pages stand in modules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as translated_by_django
from django.utils.translation import gettext_lazy as _

from ..finding import SOON, fragments, search
from ..models import AbstractBotSession
from . import columns
from .asked import may_narrow
from .changelist import SessionChangeList
from .contents import Contents
from .filters import (
    BotFilter,
    FragmentFilter,
    SortFilter,
    StateFilter,
    VersionFilter,
    WhoseFilter,
)
from .moments import moment
from .operations import OPERATIONS
from .pages import SessionPages
from .plain import visible
from .ranges import RangeFilter


class BotSessionAdmin(SessionPages):
    """Sessions can be found, looked at, changed and deleted; only bots make new ones.

    Subclass it for a subclass of ``AbstractBotSession``. ``expires_soon`` is how long before its
    end a session counts as expiring soon.
    """

    expires_soon: ClassVar[timedelta] = SOON

    actions: Sequence[Any] = OPERATIONS
    list_display = ("whose", "bot", "fragment", "state", "data_size", "changed", "expires")
    list_display_links = ("whose",)
    list_filter = (
        *(SortFilter, StateFilter, BotFilter, FragmentFilter, VersionFilter, WhoseFilter),
        RangeFilter,
    )
    list_per_page = 50
    search_fields = ("key", "title")
    search_help_text = _(
        "The exact id of a chat or user, the beginning of a session key, or words of a title. "
        "4242* finds what begins with these digits."
    )
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-pk",)
    change_list_template = "admin/botsessions/change_list.html"

    class Media:
        css: ClassVar = {"all": ["botsessions/admin.css"]}
        js: ClassVar = [Script("botsessions/admin.js", defer=True)]

    # Columns of the list.

    @admin.display(description=mark_safe('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, session: AbstractBotSession) -> SafeString:
        """Return what Django does, without a template for each: a third of the page's time."""
        said = translated_by_django("Select this object for an action - {}")
        label = said.format(visible(str(session)))
        html = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(html, ACTION_CHECKBOX_NAME, session.pk, label)

    @admin.display(description=_("chat or user"))
    def whose(self, session: AbstractBotSession) -> SafeString:
        return columns.whose(session)

    @admin.display(description=_("fragment"), empty_value="")
    def fragment(self, session: AbstractBotSession) -> str:
        return visible(session.name)

    @admin.display(description=_("state"))
    def state(self, session: AbstractBotSession) -> SafeString:
        return columns.state(Contents(session), self.expires_soon)

    @admin.display(description=_("size"))
    def data_size(self, session: AbstractBotSession) -> SafeString:
        return columns.size(session)

    @admin.display(description=_("changed"))
    def changed(self, session: AbstractBotSession) -> SafeString | str:
        return moment(session.updated_at)

    @admin.display(description=_("expires"))
    def expires(self, session: AbstractBotSession) -> SafeString | str:
        return moment(session.expires_at)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Leave the fragment out where the settings have single sessions only."""
        listed = [columns.bot if c == "bot" else c for c in super().get_list_display(request)]
        if any(fragment.name for _bot, fragment in fragments()):
            return listed
        return [column for column in listed if column != "fragment"]

    # What is found.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search(queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Refuse to filter by data: that would tell people what they may not see."""
        allowed = super().lookup_allowed(lookup, value, request)
        return bool(allowed and may_narrow(lookup, value, hidden="data"))
