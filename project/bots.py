"""The demo's bots, as the chat page shows them."""

from __future__ import annotations

from typing import NamedTuple

from botsessions.bots import all_bots

from .bot import BOT


class Shown(NamedTuple):
    """A bot on the page."""

    alias: str
    title: str
    shows: str
    """What of botsessions is to be seen in it."""
    suggestions: tuple[str, ...]


BOTS = (
    Shown(BOT, "Pizza bot", "a session per chat", ("🍕", "/hunger", "/start", "/reset")),
    Shown(
        "orders",
        "Order bot",
        "a conversation step by step, with timeout, migration and history",
        ("/order", "Margherita", "Via Roma 1", "/cancel"),
    ),
    Shown(
        "club",
        "Club bot",
        "a multi session: of the chat, and of each member, read only when needed",
        ("Funghi", "Diavola", "/result", "/me"),
    ),
    Shown(
        "tables",
        "Table bot",
        "a bot that knows no sessions: its ConversationHandler and user_data are kept",
        ("/book", "4", "8 p.m.", "/cancel"),
    ),
)


def shown() -> list[Shown]:
    """Return those that the settings have."""
    return [bot for bot in BOTS if bot.alias in all_bots()]


def named(alias: str) -> Shown | None:
    return next((bot for bot in shown() if bot.alias == alias), None)
