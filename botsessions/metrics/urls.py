"""``path("metrics/", include("botsessions.metrics.urls"))``."""

from django.urls import path

from .views import as_json, as_prometheus

app_name = "botsessions-metrics"
urlpatterns = [
    path("", as_prometheus, name="prometheus"),
    path("figures.json", as_json, name="json"),
]
