"""A bot of a club that votes on pizza: a multi session, of the chat and of each member."""

from dataclasses import dataclass, field
from typing import TypeAlias

from telegram import Update
from telegram.ext import CommandHandler, MessageHandler, filters

from botsessions import (
    Lazy,
    SessionApplication,
    SessionBuilder,
    SessionContext,
    lazy_session,
    multi_session,
    session,
)
from botsessions.keys import per_user


@dataclass
class Votes:
    votes: dict[str, int] = field(default_factory=dict)


@dataclass
class Member:
    favourite: str = ""
    voted: int = 0


class ClubSession:
    chat: Votes
    user: Lazy[Member]


club = multi_session(
    chat=session(initial=Votes),
    user=lazy_session(initial=Member, get_session_key=per_user),
)

Context: TypeAlias = SessionContext[ClubSession]


async def start(update: Update, context: Context) -> None:
    assert update.effective_message
    await update.effective_message.reply_text(
        "Hi! Send me the name of a pizza to vote for it. /result shows the votes of this chat, "
        "/me what I know of you: that is read only then."
    )


async def vote(update: Update, context: Context) -> None:
    assert update.effective_message
    pizza = (update.effective_message.text or "").strip().title()[:40]
    votes, member = context.session.chat.votes, await context.session.user
    votes[pizza] = votes.get(pizza, 0) + 1
    member.favourite, member.voted = pizza, member.voted + 1
    await update.effective_message.reply_text(f"{pizza} has {votes[pizza]} now. /result")


async def result(update: Update, context: Context) -> None:
    assert update.effective_message
    votes = sorted(context.session.chat.votes.items(), key=lambda vote: -vote[1])
    text = "\n".join(f"{count} × {pizza}" for pizza, count in votes)
    await update.effective_message.reply_text(text or "Nobody has voted yet.")


async def me(update: Update, context: Context) -> None:
    assert update.effective_message
    member = await context.session.user
    text = f"You voted {member.voted} times, last for {member.favourite or 'nothing'}."
    await update.effective_message.reply_text(text)


def build(builder: SessionBuilder) -> SessionApplication:
    application = builder.concurrent_updates(True).build()
    application.add_handler(CommandHandler("start", start))
    application.add_handler(CommandHandler("result", result))
    application.add_handler(CommandHandler("me", me))
    application.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, vote))
    return application
