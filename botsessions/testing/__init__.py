"""Testing bots: clients that talk to them offline, and the contract of storages."""

from .answers import Answers, Message
from .client import AsyncBotClient, BotClient
from .contract import StorageContract
from .person import Person

__all__ = ["Answers", "AsyncBotClient", "BotClient", "Message", "Person", "StorageContract"]
