"""grammY-style sessions for python-telegram-bot, stored by the Django ORM."""

from .ptb import Lazy, LazySessionContext, SessionApplication, SessionBuilder, SessionContext
from .sessions import MultiSession, Session, lazy_session, multi_session, session
from .storages import DatabaseStorage, MemoryStorage, enhance_storage

__all__ = [
    "DatabaseStorage",
    "Lazy",
    "LazySessionContext",
    "MemoryStorage",
    "MultiSession",
    "Session",
    "SessionApplication",
    "SessionBuilder",
    "SessionContext",
    "enhance_storage",
    "lazy_session",
    "multi_session",
    "session",
]
