"""Sessions and staff for the tests of the admin."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.migrations.recorder import MigrationRecorder
from django.urls import reverse
from django.utils import timezone

from botsessions.models import BotSession

LIST = "/admin/botsessions/botsession/"


def make(key: str | int = "1", data: Any = None, bot: str = "default", **fields: Any) -> BotSession:
    """Store a session."""
    data = {"pizza_count": 1} if data is None else data
    size = len(json.dumps(data, separators=(",", ":")))
    return BotSession.objects.create(bot=bot, key=str(key), data=data, size=size, **fields)


def let_runs_be_noted_for(length: timedelta) -> None:
    """Let the table of maintenance runs have been made so long ago."""
    made = MigrationRecorder.Migration.objects.filter(app="botsessions")
    assert made.update(applied=timezone.now() - length)


def staff(*permissions: str) -> User:
    """Return somebody who may do these things with sessions, like ``"view"``."""
    names = [f"{name}_botsession" for name in permissions]
    user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert user.user_permissions.count() == len(names)
    return user


def url(page: str, session: BotSession, *arguments: str) -> str:
    return reverse(f"admin:botsessions_botsession_{page}", args=[session.pk, *arguments])


def total(page: str) -> str:
    """Return what the admin's list says of how many there are."""
    (found,) = re.findall(r'class="bs-total">(.*?)</strong>', page)
    return re.sub("<[^>]*>", "", found)
