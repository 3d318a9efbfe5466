"""Requests to webhooks, as ASGI has them: the same answers as the view's."""

from __future__ import annotations

from http import HTTPStatus

from ..asgi import Receive, Scope, Send
from .delivery import (
    CONTENT_TYPE,
    MAX_UPDATE_BYTES,
    SECRET_HEADER,
    bot_with_webhook,
    is_telegrams,
    is_too_long,
    update_in,
)
from .home import home_here

HEADERS = [
    (b"content-length", b"0"),
    (b"cache-control", b"max-age=0, no-cache, no-store, must-revalidate, private"),
]
ALLOW = (b"allow", b"POST")
SECRET, JSON = SECRET_HEADER.lower().encode(), CONTENT_TYPE.encode()


async def serve(alias: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Have a bot handle the update in a request, and answer."""
    status = await answer_to(alias, scope, receive)
    headers = [*HEADERS, ALLOW] if status is HTTPStatus.METHOD_NOT_ALLOWED else HEADERS
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body"})


async def answer_to(alias: str, scope: Scope, receive: Receive) -> HTTPStatus:
    bot = bot_with_webhook(alias)
    if bot is None:
        return HTTPStatus.NOT_FOUND
    if scope["method"] != "POST":
        return HTTPStatus.METHOD_NOT_ALLOWED
    headers = dict(scope["headers"])
    if not is_telegrams(bot, headers.get(SECRET, b"")):
        return HTTPStatus.FORBIDDEN
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != JSON:
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if is_too_long(headers.get(b"content-length", b"").decode("latin-1")):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    try:
        body = await body_from(receive)
    except ConnectionError:  # The client has gone.
        return HTTPStatus.BAD_REQUEST
    if len(body) > MAX_UPDATE_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    content = update_in(body)
    if content is None:
        return HTTPStatus.BAD_REQUEST
    return await home_here().receive(bot, content)


async def body_from(receive: Receive) -> bytes:
    """Return a request's body, or as much of it as shows that it is too long.

    Raises:
        ConnectionError: it will never be complete.
    """
    body, more = b"", True
    while more and len(body) <= MAX_UPDATE_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
