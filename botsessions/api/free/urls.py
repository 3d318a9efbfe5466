"""The paths of the free storage, below the one that a project includes them at."""

from django.urls import path, re_path

from . import views

app_name = "botsessions_free"

urlpatterns = [
    path("login", views.login, name="login"),
    path("sessions", views.sessions, name="sessions"),
    re_path(r"^session/(?P<key>(?s:.+))\Z", views.session, name="session"),
    re_path("", views.unknown),
]
