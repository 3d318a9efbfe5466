"""How a session reads in a list: whose it is, its state, its size."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext, pgettext_lazy

from ..due import comes_due
from ..figures.numbers import grouped
from ..finding import SOON, State, state_of
from ..models import AbstractBotSession, Incident
from .contents import Contents
from .plain import UNSEEN, visible

ICONS = {State.LIVE: "●", State.SOON: "◔", State.DUE: "◕", State.EXPIRED: "○"}
SHORT = 80
BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters without a shape."""
CHAT_TYPES = {
    "private": gettext_lazy("Private chat"),
    "group": pgettext_lazy("a Telegram chat", "Group"),
    "supergroup": gettext_lazy("Supergroup"),
    "channel": gettext_lazy("Channel"),
    "sender": gettext_lazy("Sender"),
}


def title_of(session: AbstractBotSession) -> str:
    """Return what people know a session by: the chat's title or the user's name, or the key."""
    if not is_blank(session.title):
        return visible(session.title)
    return f"“{visible(session.key)}”" if is_blank(session.key) else visible(session.key)


def short_title_of(session: AbstractBotSession) -> str:
    """Return the same where there is no place for more than a line or two."""
    title = title_of(session)
    return title if len(title) <= SHORT else f"{title[:SHORT]}…"


def is_blank(text: str) -> bool:
    """Whether nobody sees anything of a text."""
    return all(letter.isspace() or letter in BLANK for letter in UNSEEN.sub("", text))


def kind_of(session: AbstractBotSession) -> str:
    """Return whose session it is: "Group -42, topic 7", "User 5 in chat -42", "Key abc"."""
    topic = topic_of(session)
    if topic:
        return gettext("{chat}, topic {topic}").format(chat=whose_of(session), topic=topic)
    return whose_of(session)


def topic_of(session: AbstractBotSession) -> str:
    """Return the id of the topic whose session it is, as its key says it; empty for a chat's."""
    chat, _, topic = session.key.rpartition("/")
    is_one = session.user_id is None and topic.isdecimal()
    return topic if is_one and chat.rpartition("/")[2] == str(session.chat_id) else ""


def where_of(session: AbstractBotSession) -> str:
    """Return the bot whose session it is, and the fragment."""
    return where(session.bot, session.name)


def where(bot: str, name: str) -> str:
    return visible(f"{bot} · {name}" if name else bot)


def subtitle_of(session: AbstractBotSession) -> str:
    return f"{kind_of(session)} · {where_of(session)}"


def title_in_full(session: AbstractBotSession) -> str:
    """Return what stands below the title of a page that is about something of a session."""
    return f"{title_of(session)} · {subtitle_of(session)}"


def whose_of(session: AbstractBotSession) -> str:
    chat, user = session.chat_id, session.user_id
    if user is not None and user < 0:  # Somebody who writes as a channel.
        if chat is None:
            return gettext("Channel {channel}").format(channel=user)
        return gettext("Channel {channel} in chat {chat}").format(channel=user, chat=chat)
    if chat is not None and (user is None or user == chat):
        kind = CHAT_TYPES.get(session.chat_type) or gettext("Chat")
        return f"{kind} {chat}"
    if chat is not None:
        return gettext("User {user} in chat {chat}").format(user=user, chat=chat)
    if user is not None:
        return gettext("User {user}").format(user=user)
    return gettext("Key {key}").format(key=visible(session.key))


@admin.display(description=gettext_lazy("bot"))
def bot(row: AbstractBotSession | Incident) -> str:
    return visible(row.bot)


def whose(session: AbstractBotSession) -> SafeString:
    return format_html(
        '<span class="bs-title">{}</span> <span class="bs-kind">{}</span>',
        short_title_of(session),
        kind_of(session),
    )


def state(contents: Contents, soon: timedelta = SOON) -> SafeString:
    """Return the state as text with an icon that screen readers do not read."""
    state = state_of(contents.session, soon=soon)
    label: Any = state.label
    if state == State.SOON and comes_due(contents.session.name):
        label = gettext("Due soon")
    shown: tuple[Any, ...] = (state.value, ICONS[state], label)
    if contents.is_unreadable:
        shown = ("refused", "✕", gettext("Unreadable"))
    return format_html(
        '<span class="bs-state bs-{}"><span aria-hidden="true">{}</span> {}</span>', *shown
    )


def size(session: AbstractBotSession) -> SafeString:
    exact = ngettext("{n} byte", "{n} bytes", session.size)
    return format_html(
        '<span title="{}">{}</span>',
        exact.format(n=grouped(session.size)),
        filesizeformat(session.size),
    )
