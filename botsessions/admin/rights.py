"""Who may do what with sessions in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext

from ..models import AbstractBotSession
from ..permissions import may
from .operations import Operation

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[AbstractBotSession]
else:  # Subscriptable for type checkers only.
    _ModelAdmin = admin.ModelAdmin


class SessionRights(_ModelAdmin):
    """Nobody adds a session; to see contents and to export them are permissions of their own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_overview_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may see how many sessions there are, and the largest of all."""
        return bool(self.has_view_permission(request))

    def has_view_contents_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may see what is stored."""
        return self.has_view_permission(request, obj) and may(
            request.user, self.model, "view_contents"
        )

    def has_edit_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may change what is stored, which shows it."""
        return self.has_change_permission(request, obj) and self.has_view_contents_permission(
            request, obj
        )

    def has_export_permission(
        self, request: HttpRequest, obj: AbstractBotSession | None = None
    ) -> bool:
        """Whether somebody may take what is stored away with them."""
        return self.has_view_contents_permission(request, obj) and may(
            request.user, self.model, "export"
        )

    def get_action_choices(
        self, request: HttpRequest, default_choices: Any = None, action_location: Any = None
    ) -> list[Any]:
        """Keep what loses data apart from what does not."""
        where = {} if action_location is None else {"action_location": action_location}
        found: dict[bool, list[tuple[str, Any]]] = {True: [], False: []}
        for name, label in super().get_action_choices(request, [], **where):
            operation = self.operations(request).get(name)
            found[operation is None or operation.is_safe].append((name, label))
        titles = {True: gettext("Nothing is lost"), False: gettext("Takes data away")}
        blank = models.BLANK_CHOICE_DASH if default_choices is None else default_choices
        return [*blank, *((titles[safe], group) for safe, group in found.items() if group)]

    def operations(self, request: HttpRequest) -> dict[str, Operation]:
        """Return the operations that somebody may do, by name."""
        if not self.has_view_permission(request):
            return {}
        return {
            action.name: action
            for action in self.actions or ()
            if isinstance(action, Operation)
            and all(
                getattr(self, f"has_{permission}_permission")(request)
                for permission in action.allowed_permissions
            )
        }
