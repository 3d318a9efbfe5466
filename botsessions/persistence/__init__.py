"""python-telegram-bot's own data, kept like sessions."""

from .persistence import BotPersistence

__all__ = ["BotPersistence"]
