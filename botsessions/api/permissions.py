"""Who may do what over HTTP: the admin's permissions, for reading, too."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..models import BotSession
from ..permissions import may

NEEDED = {
    "partial_update": ("view", "view_contents", "change"),
    "expire": ("view", "change"),
    "extend": ("view", "change"),
    "destroy": ("view", "delete"),
    "export": ("view", "view_contents", "export"),
}
"""By action; every other one needs ``view``."""


class SessionPermissions(BasePermission):
    """Lets those pass who have all the permissions that an action needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether this user may do what the view is about to do."""
        needed = NEEDED.get(view.action, ("view",))
        return may(request.user, view.model, *needed)


class MaySee(BasePermission):
    """Lets those pass who may see sessions: for pages about the API."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether this user may see sessions."""
        return may(request.user, BotSession, "view")
