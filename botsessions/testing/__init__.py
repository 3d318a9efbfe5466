"""Testing bots: clients that talk to them offline, and the contract of storages."""

from .answers import Answers, Message
from .client import AsyncBotClient, BotClient, Person
from .contract import StorageContract

__all__ = ["Answers", "AsyncBotClient", "BotClient", "Message", "Person", "StorageContract"]
