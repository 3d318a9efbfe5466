from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from botsessions.models import BotSession


@csrf_exempt
def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def counted(request: HttpRequest) -> HttpResponse:
    """Say how many messages have been counted."""
    return HttpResponse(
        sum(data["count"] for data in BotSession.objects.values_list("data", flat=True))
    )


urlpatterns = [
    path("telegram/", include("botsessions.urls")),
    path("empty/", empty),
    path("counted/", counted),
]
