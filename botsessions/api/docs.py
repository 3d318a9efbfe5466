"""A page to read about the API and to try it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.urls import NoReverseMatch, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .permissions import MaySee


@method_decorator(never_cache, name="dispatch")
class DocsView(APIView):
    """Shows the OpenAPI description with Swagger UI, from this site's own static files.

    Who has not logged in is asked to, in the admin where there is one.
    """

    permission_classes = (MaySee,)
    renderer_classes = (TemplateHTMLRenderer,)
    template_name = "botsessions/api.html"
    schema = None

    def get(self, request: Request) -> Response:
        return Response()

    def handle_exception(self, exc: Exception) -> Any:
        """Lead a stranger's browser to a login instead of refusing it."""
        refused = isinstance(exc, (NotAuthenticated, PermissionDenied))
        by_browser = self.request.method == "GET" and "text/html" in self.request.headers.get(
            "Accept", ""
        )
        if refused and by_browser and not self.request.user.is_authenticated:
            return redirect_to_login(self.request.get_full_path(), login_url())
        return super().handle_exception(exc)


def login_url() -> str | None:
    """Return where the admin's login is; ``None`` for that of the settings."""
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return None
