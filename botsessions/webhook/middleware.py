"""Webhooks in the event loop of an ASGI server, beside the site's own application."""

from __future__ import annotations

from django.core.handlers.asgi import get_script_prefix

from ..asgi import Application, Receive, Scope, Send
from .lifespan import Lifespan
from .requests import serve
from .routes import alias_at
from .shutdown import come_before_the_server


class Middleware:
    """See :class:`botsessions.asgi.WebhookMiddleware`."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._has_lifespan = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to a webhook, and pass on what is none."""
        if scope["type"] == "lifespan":
            self._has_lifespan = True
            await Lifespan(receive, send).pass_on(self._application, scope)
            return
        alias = alias_at(path_of(scope)) if scope["type"] == "http" else None
        if alias is None:
            await self._application(scope, receive, send)
            return
        if not self._has_lifespan:
            come_before_the_server()
        await serve(alias, scope, receive, send)


def path_of(scope: Scope) -> str:
    """Return the path that Django looks for in the URLconf."""
    path: str = scope["path"]
    return path.removeprefix(get_script_prefix(scope))
