"""The lifespan of a server, in which the bots live."""

from __future__ import annotations

from ..asgi import Application, Message, Receive, Scope, Send
from .home import Home, forget_stopped_home, home_here


class Lifespan:
    """Hears what a server tells of its lifespan, and what the application inside answers.

    The bots start when that has started, and have ended when it is told to end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._asked = False
        self._answered = False
        self._home: Home | None = None

    async def pass_on(self, application: Application, scope: Scope) -> None:
        """Let ``application`` answer, or answer in its place if it knows no lifespan."""
        try:
            await application(scope, self.receive, self.send)
        except Exception:
            if self._answered:
                raise
            await self._answer()

    async def _answer(self) -> None:
        if not self._asked:
            await self.receive()
        await self.send({"type": "lifespan.startup.complete"})
        await self.receive()
        await self.send({"type": "lifespan.shutdown.complete"})

    async def receive(self) -> Message:
        """Return what the server says."""
        message = await self._receive()
        self._asked = True
        if message["type"] == "lifespan.shutdown" and self._home is not None:
            await self._home.end()
        return message

    async def send(self, message: Message) -> None:
        """Answer the server."""
        self._answered = True
        if message["type"] == "lifespan.startup.complete":
            forget_stopped_home()
            self._home = home_here()
            self._home.reception.start()
        await self._send(message)
