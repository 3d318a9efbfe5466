"""One URL for each bot: ``path("telegram/", include("botsessions.urls"))``."""

from django.urls.resolvers import RoutePattern

from .webhook.view import WebhookPattern, webhook

app_name = "botsessions"
route = RoutePattern("<str:alias>/", name="webhook", is_endpoint=True)
urlpatterns = [WebhookPattern(route, webhook, name="webhook")]
