"""python-telegram-bot's side: the application, the context, jobs, and the builder of them."""

from .application import SessionApplication
from .builder import AnyBuilder, SessionBuilder, build_application, install
from .context import Lazy, LazySessionContext, SessionContext
from .jobs import SessionJobQueue
from .reaching import telegram_bot

__all__ = [
    "AnyBuilder",
    "Lazy",
    "LazySessionContext",
    "SessionApplication",
    "SessionBuilder",
    "SessionContext",
    "SessionJobQueue",
    "build_application",
    "install",
    "telegram_bot",
]
