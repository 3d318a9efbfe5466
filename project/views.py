"""The chat page, and what its script asks for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from botsessions.testing import Answers, Message

from . import bots, trying
from .bot import BOT
from .chat import guest, line
from .stored import stored
from .watching import Watch

COOKIE = "chat"
YEAR = 365 * 24 * 60 * 60
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

ChatView = Callable[[HttpRequest, int], HttpResponse]


class BotForm(forms.Form):
    bot = forms.CharField(max_length=64, required=False, empty_value=BOT)

    def clean_bot(self) -> str:
        bot = str(self.cleaned_data["bot"])
        if bots.named(bot) is None:
            raise forms.ValidationError("There is no such bot here.")
        return bot


class MessageForm(BotForm):
    text = forms.CharField(max_length=4096)


class PressForm(BotForm):
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
    context = {
        "chat_id": chat_id,
        "guest": guest(chat_id),
        "bot": bots.named(request.GET.get("bot", BOT)) or bots.named(BOT),
        "bots": bots.shown(),
        "debug": settings.DEBUG,
        "can_restart": trying.can_restart(),
        "many": trying.MANY,
        "is_first": BOT,
        "process": trying.PROCESS,
    }
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
    bot, before = form.cleaned_data["bot"], stored(form.cleaned_data["bot"], chat_id)
    return answer(bot, chat_id, before, *line().send(bot, chat_id, form.cleaned_data["text"]))


@require_POST
@in_chat
def send_many(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Send many messages to the bot at the same moment."""
    before = stored(BOT, chat_id)
    return answer(BOT, chat_id, before, *line().send(BOT, chat_id, *["🍕"] * trying.MANY))


@require_POST
@in_chat
def press(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Press a button below a message of the bot."""
    form = PressForm(request.POST)
    if not form.is_valid():
        return refusal(problems(form))
    message = {name: form.cleaned_data[name] for name in ("message_id", "text")}
    label, button = form.cleaned_data["label"], form.cleaned_data["button"]
    bot, before = form.cleaned_data["bot"], stored(form.cleaned_data["bot"], chat_id)
    return answer(bot, chat_id, before, *line().press(bot, chat_id, message, label, button))


@require_GET
@in_chat
def session(request: HttpRequest, chat_id: int) -> HttpResponse:
    """Return what is stored for the chat."""
    form = BotForm(request.GET)
    if not form.is_valid():
        return refusal(problems(form))
    found = stored(form.cleaned_data["bot"], chat_id)
    return JsonResponse({"session": found, "process": trying.PROCESS})


def answer(
    bot: str,
    chat_id: int,
    before: dict[str, Any] | None,
    answers: Sequence[Answers],
    watch: Watch,
) -> JsonResponse:
    after = stored(bot, chat_id)
    return JsonResponse(
        {
            "messages": [shown(message) for one in answers for message in one.messages],
            "edited": [shown(message) for one in answers for message in one.edited],
            "notice": next((one.notice for one in answers if one.notice), None),
            "session": after,
            "ran": {
                "code": watch.code,
                "updates": len(answers),
                "statements": watch.statements,
                "before": before and before["revision"],
                "after": after and after["revision"],
            },
        }
    )


def shown(message: Message) -> dict[str, Any]:
    return {"id": message.id, "text": message.text, "buttons": message.keyboard}


def refusal(error: str, status: int = 400) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)


def problems(form: forms.Form) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)
