"""Requests to webhooks, as ASGI has them: the same answers as the view's."""

from __future__ import annotations

from http import HTTPStatus

from ..asgi import Receive, Scope, Send
from .delivery import MAX_UPDATE_BYTES, METHOD, addressee, update_in
from .home import home_here

HEADERS = [
    (b"content-length", b"0"),
    (b"cache-control", b"max-age=0, no-cache, no-store, must-revalidate, private"),
]
ALLOW = (b"allow", METHOD.encode())


async def serve(alias: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Have a bot handle the update in a request, and answer."""
    status = await answer_to(alias, scope, receive)
    headers = [*HEADERS, ALLOW] if status is HTTPStatus.METHOD_NOT_ALLOWED else HEADERS
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body"})


async def answer_to(alias: str, scope: Scope, receive: Receive) -> HTTPStatus:
    headers = dict(scope["headers"])
    bot = addressee(
        alias,
        scope["method"],
        lambda name: headers.get(name.lower().encode(), b"").decode("latin-1"),
    )
    if isinstance(bot, HTTPStatus):
        return bot
    try:
        content = update_in(await body_from(receive))
    except ConnectionError:  # The client has gone.
        return HTTPStatus.BAD_REQUEST
    return content if isinstance(content, HTTPStatus) else await home_here().receive(bot, content)


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
