from django.contrib import admin
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.page, name="chat"),
    path("messages/", views.send, name="send"),
    path("presses/", views.press, name="press"),
    path("session/", views.session, name="session"),
    path("admin/", admin.site.urls),
    path("metrics/", include("botsessions.metrics.urls")),
    path("api/", include("botsessions.api.urls")),
]
