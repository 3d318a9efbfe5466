"""The chat page, and what its script asks for."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from botsessions.keys import per_chat
from botsessions.models import BotSession
from botsessions.testing import Answers, Message
from project.bot import BOT

from .chat import guest, line

COOKIE = "chat"
YEAR = 365 * 24 * 60 * 60
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

ChatView = Callable[[HttpRequest, int], HttpResponse]


class MessageForm(forms.Form):
    text = forms.CharField(max_length=4096)


class PressForm(forms.Form):
    message_id = forms.IntegerField(min_value=1)
    text = forms.CharField(max_length=4096, required=False)
    label = forms.CharField(max_length=256)
    button = forms.CharField(max_length=64)


@never_cache
@ensure_csrf_cookie
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the chat; a browser that comes for the first time gets one of its own."""
    chat_id = chat_of(request) or secrets.randbelow(9 * 10**9) + 10**9
    context = {"chat_id": chat_id, "guest": guest(chat_id)}
    response = render(request, "chat.html", context)
    response.set_signed_cookie(COOKIE, str(chat_id), max_age=YEAR, httponly=True, samesite="Lax")
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def chat_of(request: HttpRequest) -> int | None:
    """Return the chat of the browser. It outlives its login: that is another cookie."""
    cookie = request.get_signed_cookie(COOKIE, default=None)
    return None if cookie is None else int(cookie)


def in_chat(view: ChatView) -> Callable[[HttpRequest], HttpResponse]:
    """Give a view the chat of the browser."""

    @never_cache
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        chat_id = chat_of(request)
        if chat_id is None:
            return refusal("There is no chat yet: load the page, with cookies allowed.", 403)
        return view(request, chat_id)

    return wrapped


@require_POST
@in_chat
def send(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Send a message to the bot."""
    form = MessageForm(request.POST)
    if not form.is_valid():
        return refusal(problems(form))
    return answer(chat_id, line().send(chat_id, form.cleaned_data["text"]))


@require_POST
@in_chat
def press(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Press a button below a message of the bot."""
    form = PressForm(request.POST)
    if not form.is_valid():
        return refusal(problems(form))
    message = {name: form.cleaned_data[name] for name in ("message_id", "text")}
    label, button = form.cleaned_data["label"], form.cleaned_data["button"]
    return answer(chat_id, line().press(chat_id, message, label, button))


@require_GET
@in_chat
def session(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Return what is stored for the chat."""
    return JsonResponse({"session": stored(chat_id)})


def answer(chat_id: int, answers: Answers) -> JsonResponse:
    return JsonResponse(
        {
            "messages": [shown(message) for message in answers.messages],
            "edited": [shown(message) for message in answers.edited],
            "notice": answers.notice,
            "session": stored(chat_id),
        }
    )


def shown(message: Message) -> dict[str, Any]:
    return {"id": message.id, "text": message.text, "buttons": message.keyboard}


def stored(chat_id: int) -> dict[str, Any] | None:
    """Return the chat's row, as the page shows it."""
    row = BotSession.objects.filter(bot=BOT, name="", key=per_chat(chat=chat_id)).first()
    if row is None:
        return None
    return {
        "json": json.dumps(row.data, ensure_ascii=False, indent=2),
        "key": row.key,
        "revision": str(row.revision),
        "changed": row.updated_at,
        "admin": reverse("admin:botsessions_botsession_change", args=[row.pk]),
    }


def refusal(error: str, status: int = 400) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)


def problems(form: forms.Form) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)
