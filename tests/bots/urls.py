from django.urls import include, path

urlpatterns = [path("telegram/", include("botsessions.urls"))]
