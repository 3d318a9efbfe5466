"""Webhooks under an ASGI server: ``application = WebhookMiddleware(get_asgi_application())``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from .arguments import check_function

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

EXPECTED: Final = "an ASGI application, like get_asgi_application()"


class WebhookMiddleware:
    """Serves the URLs of ``botsessions.urls`` in the server's event loop, past Django's own stack.

    All else goes to ``application``. The bots start and end with the server if it speaks the
    lifespan protocol, and else start with the first update. To be made once Django is set up, as
    ``get_asgi_application()`` does.
    """

    def __init__(self, application: Application) -> None:
        from .webhook.middleware import Middleware  # noqa: PLC0415 (it needs the settings)

        check_function("application", application, EXPECTED, "scope", "receive", "send")
        self._middleware = Middleware(application)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to a webhook, and pass on what is none."""
        await self._middleware(scope, receive, send)
