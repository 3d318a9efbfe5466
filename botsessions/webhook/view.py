"""What Telegram sends its updates to where the site is served by Django alone."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from .delivery import (
    CONTENT_TYPE,
    MAX_UPDATE_BYTES,
    SECRET_HEADER,
    bot_with_webhook,
    is_telegrams,
    is_too_long,
    update_in,
)
from .home import home_in_a_thread
from .shutdown import come_before_the_server


@csrf_exempt
@login_not_required
@never_cache
async def webhook(request: HttpRequest, alias: str) -> HttpResponse:
    """Have a bot handle the update in the request.

    The answer is 200 when its handlers, or the error handlers, have run and its session is saved;
    it is 503 if nothing has begun, and Telegram is to deliver the update again.
    """
    bot = bot_with_webhook(alias)
    if bot is None:
        return answer(HTTPStatus.NOT_FOUND)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not is_telegrams(bot, request.headers.get(SECRET_HEADER, "")):
        return answer(HTTPStatus.FORBIDDEN)
    if request.content_type != CONTENT_TYPE:
        return answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if is_too_long(request.META.get("CONTENT_LENGTH") or ""):
        return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        body = request.read(MAX_UPDATE_BYTES + 1)
    except UnreadablePostError:  # The client has gone.
        return answer(HTTPStatus.BAD_REQUEST)
    if len(body) > MAX_UPDATE_BYTES:
        return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    content = update_in(body)
    if content is None:
        return answer(HTTPStatus.BAD_REQUEST)
    if isinstance(request, ASGIRequest):
        come_before_the_server()
    return answer(await home_in_a_thread().receive(bot, content))


# By name, because a decorator is for one database only.
for using in connections:
    non_atomic_requests(using)(webhook)


def answer(status: HTTPStatus) -> HttpResponse:
    return HttpResponse(status=status)
