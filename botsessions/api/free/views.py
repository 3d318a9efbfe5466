"""The requests of grammY's free storage."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from ...conf import free_storage_limits
from ...exceptions import SessionKeyError
from ...keys import check_key
from ...records import dumps
from .answers import Refusal, answering
from .credentials import authorized_bot, bot_with_token, count_login, credential
from .sessions import FreeSessions

LONGEST_LOGIN = 4096


@answering("POST")
def login(request: HttpRequest) -> HttpResponse:
    """Give a credential for a bot's token."""
    count_login(request)
    content = json_of(request, LONGEST_LOGIN)
    if not isinstance(content, dict) or not isinstance(content.get("token"), str):
        raise Refusal(400, 'Send {"token": "…"}, with the bot\'s token.')
    return JsonResponse({"token": credential(bot_with_token(content["token"]))}, status=201)


@answering("GET", "POST", "DELETE")
def session(request: HttpRequest, key: str) -> HttpResponse:
    """Read, write or delete a session."""
    stored = FreeSessions(authorized_bot(request))
    check_length(key)
    if request.method == "GET":
        value = stored.read(key)
        if value is None:
            raise Refusal(404, "There is no such session.")
        return HttpResponse(dumps(value), content_type="application/json")
    if request.method == "POST":
        stored.write(key, json_of(request, free_storage_limits()["MAX_BYTES"]))
    else:
        stored.delete(key)
    return HttpResponse(status=204)


@answering("GET")
def sessions(request: HttpRequest) -> HttpResponse:
    """List the keys of all sessions."""
    return JsonResponse(list(FreeSessions(authorized_bot(request)).keys()), safe=False)


@answering()
def unknown(request: HttpRequest) -> HttpResponse:
    raise Refusal(404, "There is nothing here.")


def check_length(key: str) -> None:
    most = free_storage_limits()["MAX_KEY_LENGTH"]
    if len(key) > most:
        raise Refusal(400, f"The key has {len(key)} characters; it may have {most}.")
    try:
        check_key(key)
    except SessionKeyError as exc:
        raise Refusal(400, str(exc)) from None


def json_of(request: HttpRequest, most: int) -> Any:
    """Return the JSON that was sent, whatever type it is said to be."""
    text = request.read(most + 1)
    if len(text) > most:
        raise Refusal(400, f"The data is too long; it may have {most} bytes.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is missing or not JSON.") from None
