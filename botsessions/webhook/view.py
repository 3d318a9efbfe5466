"""What Telegram sends its updates to."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from ..bots import Bot, get_bot
from . import shutdown, thread

MAX_UPDATE_BYTES = 1024 * 1024
"""How long the JSON of an update may be. Telegram's are some kilobytes."""
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (the header's name)


@csrf_exempt
@login_not_required
@never_cache
async def webhook(request: HttpRequest, alias: str) -> HttpResponse:
    """Have a bot handle the update in the request.

    The answer is 200 when its handlers, or the error handlers, have run and its session is saved;
    it is 503 if nothing has begun, and Telegram is to deliver the update again.
    """
    bot = with_webhook(alias)
    if bot is None:
        return answer(HTTPStatus.NOT_FOUND)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not constant_time_compare(request.headers.get(SECRET_HEADER, ""), bot.webhook_secret or ""):
        return answer(HTTPStatus.FORBIDDEN)
    if request.content_type != "application/json":
        return answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if declared_length(request) > MAX_UPDATE_BYTES:
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
        shutdown.come_before_the_servers()
    with shutdown.waiting():
        return answer(await thread.received(bot, content))


# By name, because a decorator is for one database only.
for using in connections:
    non_atomic_requests(using)(webhook)


def with_webhook(alias: str) -> Bot | None:
    try:
        bot = get_bot(alias)
    except ImproperlyConfigured:
        return None
    return bot if bot.webhook_secret else None


def declared_length(request: HttpRequest) -> int:
    """Return how long the body is said to be; 0 where nothing is said, or nonsense."""
    text = request.META.get("CONTENT_LENGTH") or ""
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def update_in(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an update, ``None`` if it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    update_id = content.get("update_id")
    return content if type(update_id) is int and 0 <= update_id < 2**63 else None


def answer(status: HTTPStatus) -> HttpResponse:
    return HttpResponse(status=status)
