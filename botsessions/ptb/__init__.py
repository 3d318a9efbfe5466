"""python-telegram-bot's side: the application, the context, jobs, and the builder of them."""

from .application import SessionApplication
from .builder import SessionBuilder, build_application, install
from .context import Lazy, LazySessionContext, SessionContext
from .jobs import SessionJobQueue
from .reaching import telegram_bot

__all__ = [
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
