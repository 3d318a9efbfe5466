"""The admin of sessions: what Django asks it. Its pages stand in modules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext as translated_by_django
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt

from ..figures.webhooks import telegram_says
from ..finding import SOON, fragments, search
from ..models import AbstractBotSession
from ..permissions import may
from ..reading import with_text
from . import columns, edit, operate, overview, page, webhooks
from .changelist import SessionChangeList
from .contents import JUDGED_BYTES, Contents
from .filters import BotFilter, FragmentFilter, StateFilter, VersionFilter, WhoseFilter
from .moments import moment
from .operations import OPERATIONS, Operation

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[AbstractBotSession]
else:  # Subscriptable for type checkers only.
    _ModelAdmin = admin.ModelAdmin


class BotSessionAdmin(_ModelAdmin):
    """Sessions can be found, looked at, changed and deleted; only bots make new ones.

    Subclass it for a subclass of ``AbstractBotSession``. ``expires_soon`` is how long before its
    end a session counts as expiring soon.
    """

    expires_soon: ClassVar[timedelta] = SOON

    actions: Sequence[Any] = OPERATIONS
    list_display = ("whose", "bot", "fragment", "state", "data_size", "changed", "expires")
    list_display_links = ("whose",)
    list_filter = (StateFilter, BotFilter, FragmentFilter, VersionFilter, WhoseFilter)
    list_per_page = 50
    search_fields = ("key", "title")
    search_help_text = _(
        "The exact id of a chat or user, or the beginning of a session key or title. 4242* finds "
        "what begins with these digits."
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
        label = translated_by_django("Select this object for an action - {}").format(session)
        html = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(html, ACTION_CHECKBOX_NAME, session.pk, label)

    @admin.display(description=_("chat or user"))
    def whose(self, session: AbstractBotSession) -> SafeString:
        return columns.whose(session)

    @admin.display(description=_("fragment"), empty_value="")
    def fragment(self, session: AbstractBotSession) -> str:
        return session.name

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
        columns = super().get_list_display(request)
        if any(fragment.name for _bot, fragment in fragments()):
            return columns
        return [column for column in columns if column != "fragment"]

    # Who may do what.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_overview_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may see how many sessions there are, and the largest of all."""
        return bool(self.has_view_permission(request))

    def has_view_contents_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may see what is stored."""
        return self.has_view_permission(request, obj) and may(
            request.user, self.model, "view_contents"
        )

    def has_edit_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may change what is stored, which shows it."""
        return self.has_change_permission(request, obj) and self.has_view_contents_permission(
            request, obj
        )

    def has_export_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may take what is stored away with them."""
        return self.has_view_contents_permission(request, obj) and may(
            request.user, self.model, "export"
        )

    # What is found.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search(queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Refuse to filter by data: that would tell people what they may not see."""
        if lookup.split("__")[0] == "data":
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def stored(
        self, request: HttpRequest, object_id: str, *, contents: bool = False
    ) -> AbstractBotSession | None:
        """Return a session, :func:`.with_text` if ``contents`` are asked for."""
        try:
            sessions = self.get_queryset(request).filter(pk=unquote(object_id))
        except (ValueError, ValidationError):
            return None
        session: AbstractBotSession | None
        session = (with_text(sessions) if contents else sessions.defer("data")).first()
        return session

    def judged(self, request: HttpRequest, sessions: QuerySet[Any]) -> QuerySet[Any]:
        """Have sessions loaded with what shows whether their bots can read them, if that may be."""
        if not self.has_view_contents_permission(request):
            return sessions.defer("data")
        return with_text(sessions, JUDGED_BYTES)

    # Pages.

    def get_urls(self) -> list[URLPattern]:
        def named(route: str, view: Any, name: str) -> URLPattern:
            options = self.opts
            name = f"{options.app_label}_{options.model_name}_{name}"
            pattern: URLPattern = path(route, self.admin_site.admin_view(view), name=name)
            return pattern

        return [
            named("overview/", self.overview_view, "overview"),
            named("overview/webhooks/", self.webhooks_view, "webhooks"),
            named("<path:object_id>/edit/", self.edit_view, "edit"),
            named("<path:object_id>/data.json", self.data_view, "data"),
            named("<path:object_id>/action/<slug:name>/", self.operation_view, "operation"),
            *super().get_urls(),
        ]

    def url(self, name: str, *arguments: Any) -> str:
        """Return the address of a page, like ``url("change", pk)``."""
        pattern = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(pattern, args=arguments, current_app=self.admin_site.name)

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """Show how many sessions there are of each kind, and whether all that serves them runs."""
        if not self.has_overview_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = overview.overview_for(request)
        return self.render(request, "overview.html", gettext("Overview"), context)

    def webhooks_view(self, request: HttpRequest) -> HttpResponse:
        """Show what Telegram says of the webhooks, which may take a while."""
        if not self.has_overview_permission(request):
            raise PermissionDenied
        said = telegram_says(webhooks.PATIENCE_SECONDS)
        context = {"webhooks": webhooks.webhooks(said)}
        return TemplateResponse(request, "admin/botsessions/webhooks.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a session. It is changed elsewhere."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET"])
        may_see = self.has_view_contents_permission(request)
        session = self.stored(request, object_id, contents=may_see)
        if session is None:
            return self.missing(request, object_id)
        return page.session_page(self, request, Contents(session), may_see, extra_context)

    def data_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_contents_permission(request):
            raise PermissionDenied
        session = self.stored(request, object_id, contents=True)
        return self.missing(request, object_id) if session is None else page.data(Contents(session))

    @method_decorator(csrf_exempt)  # Its page looks at the token when it has read a large form.
    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_edit_permission(request):
            raise PermissionDenied
        return edit.edit_page(self, request, object_id)

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponseBase:
        """Do to one session what the list's actions do to many."""
        operation = self.operations(request).get(name)
        if operation is None:
            raise PermissionDenied
        session = self.stored(request, object_id)
        if session is None:
            return self.missing(request, object_id)
        found = self.get_queryset(request).filter(pk=session.pk)
        return operate.operate(self, request, operation, found, session)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return self.operation_view(request, object_id, "delete_selected")

    def operations(self, request: HttpRequest) -> dict[str, Operation]:
        """Return the operations that somebody may do, by name."""
        if not self.has_view_permission(request):
            return {}
        return {
            action.name: action
            for action in self.actions
            if isinstance(action, Operation)
            and all(
                getattr(self, f"has_{permission}_permission")(request)
                for permission in action.allowed_permissions
            )
        }

    def missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say that a session is not there (any more), and lead to the list."""
        text = gettext("There is no session with the ID {id}. Perhaps it was deleted.")
        self.message_user(request, text.format(id=unquote(object_id)), messages.WARNING)
        return redirect(self.url("changelist"))

    def render(
        self, request: HttpRequest, template: str, title: str, context: dict[str, Any]
    ) -> TemplateResponse:
        """Return a page of the admin.

        Args:
            template: the name of a template of this package's, which projects can override.
        """
        request.current_app = self.admin_site.name
        standard = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "media": self.media,
            "list_url": self.url("changelist"),
        }
        return TemplateResponse(request, f"admin/botsessions/{template}", standard | context)
