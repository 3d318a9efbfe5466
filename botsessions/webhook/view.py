"""What Telegram sends its updates to where the site is served by Django alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.urls import ResolverMatch, URLPattern
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from ..bots import Bot
from ..database.callers import running_loop
from .delivery import MAX_UPDATE_BYTES, METHOD, addressee, update_in
from .home import home_in_a_thread
from .shutdown import come_before_the_server


@csrf_exempt
@login_not_required
@never_cache
def webhook(request: HttpRequest, alias: str) -> HttpResponse:
    """Have a bot handle the update in the request.

    The answer is 200 when its handlers, or the error handlers, have run and its session is saved;
    it is 503 if nothing has begun, and Telegram is to deliver the update again.
    """
    delivered = delivery_in(request, alias)
    if isinstance(delivered, HTTPStatus):
        return answer(delivered)
    return answer(home_in_a_thread().wait_for(*delivered))


@csrf_exempt
@login_not_required
@never_cache
async def webhook_async(request: HttpRequest, alias: str) -> HttpResponse:
    """Do the same on an event loop, whose other requests go on meanwhile."""
    delivered = delivery_in(request, alias)
    if isinstance(delivered, HTTPStatus):
        return answer(delivered)
    if isinstance(request, ASGIRequest):
        come_before_the_server()
    return answer(await home_in_a_thread().receive(*delivered))


# By name, because a decorator is for one database only.
for using in connections:
    non_atomic_requests(using)(webhook)
    non_atomic_requests(using)(webhook_async)


class WebhookPattern(URLPattern):
    """Leads to the view that suits the server: Django would make an event loop for each request."""

    def resolve(self, path: str) -> ResolverMatch | None:
        match = super().resolve(path)
        if match is not None and running_loop() is not None:
            match.func = webhook_async
        return match


def delivery_in(request: HttpRequest, alias: str) -> tuple[Bot, dict[str, Any]] | HTTPStatus:
    """Return what Telegram delivers, or the answer to what it does not."""
    bot = addressee(alias, request.method or "", lambda name: request.headers.get(name, ""))
    if isinstance(bot, HTTPStatus):
        return bot
    if isinstance(request, WSGIRequest) and is_in_chunks(request):
        return HTTPStatus.LENGTH_REQUIRED
    try:
        content = update_in(request.read(MAX_UPDATE_BYTES + 1))
    except UnreadablePostError:  # The client has gone.
        return HTTPStatus.BAD_REQUEST
    return content if isinstance(content, HTTPStatus) else (bot, content)


def is_in_chunks(request: WSGIRequest) -> bool:
    """Whether a body has no length: Django reads nothing of it."""
    return "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH")


def answer(status: HTTPStatus) -> HttpResponse:
    allow = {"Allow": METHOD} if status is HTTPStatus.METHOD_NOT_ALLOWED else None
    return HttpResponse(status=status, headers=allow)
