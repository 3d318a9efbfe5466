"""What people may do with stored sessions, in the admin and over the API alike."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_permission_codename

from .models import AbstractBotSession

PERMISSIONS = AbstractBotSession._meta.default_permissions
"""See, see contents, change, delete, export."""


def may(user: Any, model: type[AbstractBotSession], *actions: str) -> bool:
    """Whether somebody has all of these permissions, like ``"view"`` and ``"view_contents"``."""
    options = model._meta
    names = [f"{options.app_label}.{get_permission_codename(a, options)}" for a in actions]
    return bool(user.has_perms(names))
