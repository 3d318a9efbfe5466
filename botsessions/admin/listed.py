"""Which sessions an admin has in its lists, and for whom."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db import router
from django.http import HttpRequest

from ..models import AbstractBotSession
from ..permissions import may


def lists(model_admin: Any, request: HttpRequest, using: str | None) -> bool:
    """Return whether it reads a database, or one that is a copy of it."""
    read = model_admin.get_queryset(request).db
    is_routed = read == router.db_for_read(model_admin.model)
    return using == read or (is_routed and using == router.db_for_write(model_admin.model))


def may_see(request: HttpRequest, here: AdminSite, model: type[AbstractBotSession]) -> bool:
    """Whether somebody may see the sessions of a table here."""
    model_admin = here.get_model_admin(model) if here.is_registered(model) else None
    has_permission = getattr(model_admin, "has_overview_permission", None)
    return bool(has_permission(request) if has_permission else may(request.user, model, "view"))
