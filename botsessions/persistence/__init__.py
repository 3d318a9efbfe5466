"""python-telegram-bot's own data, kept like sessions."""

from .persistence import BotPersistence, all_conversations

__all__ = ["BotPersistence", "all_conversations"]
