"""The pages of the admin of sessions: who may see them, and where they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt

from ..figures.webhooks import telegram_says
from ..finding import SOON
from . import activity, columns, edit, one_value, operate, overview, page, past, recent, webhooks
from .contents import Contents
from .loading import SessionLoading
from .plain import visible


class SessionPages(SessionLoading):
    """Pages of their own in the place of Django's form."""

    expires_soon: ClassVar[timedelta] = SOON

    def get_urls(self) -> list[URLPattern]:
        def named(route: str, view: Any, name: str) -> URLPattern:
            options = self.opts
            name = f"{options.app_label}_{options.model_name}_{name}"
            pattern: URLPattern = path(route, self.admin_site.admin_view(view), name=name)
            return pattern

        return [
            named("overview/", self.overview_view, "overview"),
            named("overview/webhooks/", self.webhooks_view, "webhooks"),
            named("activity/", self.activity_view, "activity"),
            named("action/<slug:name>/", self.operation_on_all_view, "operation_on_all"),
            named("<path:object_id>/value/", self.value_view, "value"),
            named("<path:object_id>/revision/", self.revision_view, "revision"),
            named("<path:object_id>/recent/", self.recent_view, "recent"),
            named("<path:object_id>/edit/", self.edit_view, "edit"),
            named("<path:object_id>/data.json", self.data_view, "data"),
            named("<path:object_id>/versions/", self.past_view, "past"),
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

    def activity_view(self, request: HttpRequest) -> HttpResponse:
        """Show what people did to sessions."""
        if not self.has_overview_permission(request):
            raise PermissionDenied
        return activity.activity_page(self, request)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what people did to a session."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        session = self.stored(request, object_id)
        if session is None:
            return self.missing(request, object_id)
        return activity.activity_page(self, request, session)

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

    def revision_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer with the revision that a session has now, for pages that show an older one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        session = self.stored(request, object_id)
        return HttpResponse(session.revision if session else "", content_type="text/plain")

    def recent_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what happened to a session last, as a part of its page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        may_see = self.has_view_contents_permission(request)
        session = self.stored(request, object_id, contents=may_see)
        if session is None:
            return self.missing(request, object_id)
        return recent.recent_part(self, request, session, may_see)

    def past_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what a session was, and let it be that again."""
        restores = request.method == "POST"
        may = self.has_edit_permission if restores else self.has_view_contents_permission
        if not may(request):
            raise PermissionDenied
        session = self.stored(request, object_id, contents=True)
        if session is None:
            return self.missing(request, object_id)
        return (past.restored if restores else past.past_page)(self, request, session)

    @method_decorator(csrf_exempt)  # Its page looks at the token when it has read a large form.
    def value_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Edit a single value."""
        if not self.has_edit_permission(request):
            raise PermissionDenied
        return one_value.value_page(self, request, object_id)

    @method_decorator(csrf_exempt)  # See above.
    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_edit_permission(request):
            raise PermissionDenied
        return edit.edit_page(self, request, object_id)

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponseBase:
        """Do to one session what the list's actions do to many."""
        operation = self.operations(request).get(name)
        if operation is None:
            raise PermissionDenied
        may_see = self.has_view_contents_permission(request)
        session = self.stored(request, object_id, contents=may_see)
        if session is None:
            return self.missing(request, object_id)
        found = self.get_queryset(request).filter(pk=session.pk)
        return operate.operate(self, request, operation, found, Contents(session))

    def operation_on_all_view(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """Do to all that the list shows at this address what its actions do to some."""
        operation = self.operations(request).get(name)
        if operation is None:
            raise PermissionDenied
        listed = f"{self.url('changelist')}?{request.GET.urlencode()}"
        try:
            changelist: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return redirect(listed)  # It says what is wrong.
        narrowed_by = " · ".join(f"{label}: {value}" for label, value, _url in changelist.chips)
        origin = operate.Origin(listed, narrowed_by)
        return operate.operate(self, request, operation, changelist.unbounded, origin=origin)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return self.operation_view(request, object_id, "delete_selected")

    def missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say that a session is not there (any more), and lead to the list."""
        text = gettext("There is no session with the ID {id}. Perhaps it was deleted.")
        self.message_user(request, text.format(id=visible(unquote(object_id))), messages.WARNING)
        return redirect(self.url("changelist"))

    def render(
        self, request: HttpRequest, template: str, title: str, context: dict[str, Any]
    ) -> TemplateResponse:
        """Return a page of the admin.

        Args:
            template: the name of a template of this package's, which projects can override.
        """
        request.current_app = self.admin_site.name
        session = context.get("session")
        standard = {
            "session_title": session and columns.short_title_of(session),
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "media": self.media,
            "list_url": self.url("changelist"),
        }
        return TemplateResponse(request, f"admin/botsessions/{template}", standard | context)
