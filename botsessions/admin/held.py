"""Whether a handler holds a session's key among all processes, and for how long."""

from __future__ import annotations

from datetime import timedelta

from django.db import connections
from django.db.models import BigIntegerField
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext

from ..database.clock import NOW
from ..database.lease import lease_key
from ..declaration import Fragment
from ..maintenance.changing import address_of
from ..maintenance.holding import lock_of
from ..models import AbstractBotSession, BotSessionLease
from ..storages.transactions import database_of
from .moments import MINUTE, duration


def held_text(session: AbstractBotSession, fragment: Fragment[object] | None) -> str:
    """Return for how long somebody has held the key; nothing if nobody does, or nobody can tell."""
    address = address_of(session)
    if fragment is None or lock_of([address]) != "database":
        return ""
    using = database_of(fragment.storage)
    now = RawSQL(NOW[connections[using].vendor], [], BigIntegerField())  # noqa: S611 (a constant)
    held = BotSessionLease._default_manager.using(using).annotate(now=now)
    lease = held.filter(pk=lease_key(address), holder__gt=0, ends_at__gt=now).first()
    if lease is None:
        return ""
    length = length_of(lease.now - lease.held_since) if lease.held_since > 0 else "?"
    return gettext("by running code, for {duration}").format(duration=length)


def length_of(milliseconds: int) -> str:
    seconds = max(0, milliseconds) // 1000
    short = gettext("{n} s").format(n=seconds)
    return short if seconds < MINUTE else duration(timedelta(seconds=seconds))
