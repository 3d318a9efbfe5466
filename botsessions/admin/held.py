"""Whether a handler holds a session's key, and for how long, with ``LOCK="database"``."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import BigIntegerField
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext

from ..bots import get_bot
from ..database.clock import NOW
from ..database.lease import lease_key
from ..declaration import Fragment
from ..maintenance.changing import address_of
from ..models import AbstractBotSession, BotSessionLease
from ..storages.transactions import database_of
from .moments import MINUTE, duration


def held_text(session: AbstractBotSession, fragment: Fragment[object] | None) -> str:
    """Return for how long somebody has held the key; nothing if nobody does, or nobody can tell."""
    if fragment is None or not is_leased(session.bot):
        return ""
    using = database_of(fragment.storage)
    now = RawSQL(NOW[connections[using].vendor], [], BigIntegerField())  # noqa: S611 (a constant)
    held = BotSessionLease._default_manager.using(using).annotate(now=now)
    lease = held.filter(pk=lease_key(address_of(session)), holder__gt=0, ends_at__gt=now).first()
    if lease is None:
        return ""
    seconds = max(0, lease.now - lease.held_since) // 1000
    short = gettext("{n} s").format(n=seconds)
    length = short if seconds < MINUTE else duration(timedelta(seconds=seconds))
    return gettext("by running code, for {duration}").format(duration=length)


def is_leased(bot: str) -> bool:
    try:
        return get_bot(bot).lock == "database"
    except ImproperlyConfigured:
        return False
