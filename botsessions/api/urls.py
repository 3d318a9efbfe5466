"""``path("api/", include("botsessions.api.urls"))``."""

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path

try:
    import drf_spectacular  # noqa: F401
    from rest_framework.routers import SimpleRouter
except ImportError as exc:
    raise ImproperlyConfigured(
        "The REST API needs Django REST framework and drf-spectacular: "
        "pip install 'django-botsessions[api]'."
    ) from exc

from .docs import DocsView
from .schema import SchemaView
from .views import SessionViewSet

app_name = "botsessions-api"

router = SimpleRouter()
router.register("sessions", SessionViewSet, "session")

urlpatterns = [
    path("", include(router.urls)),
    path("schema/", SchemaView.as_view(), name="schema"),
]
if apps.is_installed("drf_spectacular_sidecar"):  # It has the page's script and style.
    urlpatterns.append(path("docs/", DocsView.as_view(), name="docs"))
