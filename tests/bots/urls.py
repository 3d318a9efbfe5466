from django.urls import include, path

from .backends import backend

urlpatterns = [
    path("telegram/", include("botsessions.urls")),
    path("backend/", backend),
]
