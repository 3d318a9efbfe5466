from django.contrib import admin
from django.urls import include, path

from . import reading, trying, views

urlpatterns = [
    path("", views.page, name="chat"),
    path("messages/", views.send, name="send"),
    path("messages/many/", views.send_many, name="send-many"),
    path("presses/", views.press, name="press"),
    path("session/", views.session, name="session"),
    path("try/admin/", trying.admin, name="try-admin"),
    path("try/conflict/", views.in_chat(trying.conflict), name="try-conflict"),
    path("try/restart/", trying.restart, name="try-restart"),
    path("docs/", reading.contents, name="docs"),
    path("docs/<slug:name>.md", reading.text, name="docs-page"),
    path("admin/", admin.site.urls),
    path("metrics/", include("botsessions.metrics.urls")),
    path("api/", include("botsessions.api.urls")),
]
