"""Whether the list of an admin has the sessions of a database."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.http import HttpRequest


def lists(model_admin: Any, request: HttpRequest, using: str | None) -> bool:
    """Return whether it reads a database, or one that is a copy of it."""
    read = model_admin.get_queryset(request).db
    is_routed = read == router.db_for_read(model_admin.model)
    return using == read or (is_routed and using == router.db_for_write(model_admin.model))
