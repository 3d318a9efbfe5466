from django.urls import include, path

urlpatterns = [path("free/", include("botsessions.api.free.urls"))]
