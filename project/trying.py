"""What the demo lets its visitors try, on their own computers only: all of it needs ``DEBUG``."""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from .bot import BOT
from .chat import line
from .stored import stored

ADMIN = "admin"
MANY = 20
PROCESS = secrets.token_hex(8)
"""Another one after each restart."""
PAUSE_SECONDS = 0.2
"""Until the answer is on its way."""


def with_debug(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any) -> HttpResponse:
        if not settings.DEBUG:
            raise Http404
        return view(request, *args)

    return require_POST(wrapped)


def log_in(request: HttpRequest) -> None:
    """Log the visitor in as the demo's superuser."""
    user = get_user_model()._default_manager.filter(username=ADMIN, is_superuser=True).first()
    if user is None:
        raise Http404
    if request.user != user:
        login(request, user, "django.contrib.auth.backends.ModelBackend")


@with_debug
def admin(request: HttpRequest) -> HttpResponse:
    """Lead to the admin or another page, logged in."""
    log_in(request)
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
        target = reverse("admin:index")
    return redirect(target)


@with_debug
def conflict(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Let the bot write while somebody has the session in the admin's editor.

    Returns what the editor would send then.
    """
    log_in(request)
    session = stored(BOT, chat_id)
    if session is None:
        line().send(BOT, chat_id, "🍕")
        session = stored(BOT, chat_id)
    assert session is not None
    mine = json.loads(session["json"]) | {"pizza_count": 1000}
    line().send(BOT, chat_id, "🍕")
    return JsonResponse(
        {
            "url": session["admin"].replace("/change/", "/edit/"),
            "fields": {
                "text": json.dumps(mine, indent=2),
                "opened": session["json"],
                "revision": session["revision"],
            },
        }
    )


def can_restart() -> bool:
    return settings.DEBUG and sys.argv[1:2] == ["runserver"]


@with_debug
def restart(request: HttpRequest) -> HttpResponse:
    """Have another process take the place of this one."""
    if not can_restart():
        raise Http404
    # A port that the system has chosen is to be had again.
    arguments = [a.replace(":0", f":{request.get_port()}") if a.endswith(":0") else a for a in ARGS]
    threading.Timer(PAUSE_SECONDS, os.execv, [sys.executable, arguments]).start()
    return JsonResponse({})


ARGS = sys.orig_argv
