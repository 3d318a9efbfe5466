"""One URL for each bot: ``path("telegram/", include("botsessions.urls"))``."""

from django.urls import path

from .webhook.view import webhook

app_name = "botsessions"
urlpatterns = [path("<str:alias>/", webhook, name="webhook")]
