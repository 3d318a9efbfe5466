"""A page to read about the API and to try it."""

from __future__ import annotations

from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .permissions import MaySee


@method_decorator(never_cache, name="dispatch")
class DocsView(APIView):
    """Shows the OpenAPI description with Swagger UI, from this site's own static files."""

    permission_classes = (MaySee,)
    renderer_classes = (TemplateHTMLRenderer,)
    template_name = "botsessions/api.html"
    schema = None

    def get(self, request: Request) -> Response:
        return Response()
