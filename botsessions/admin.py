from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from .models import BotSession
from .storages.base import dumps, new_revision, utcnow

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[BotSession]
else:  # Subscriptable for type checkers only.
    _ModelAdmin = admin.ModelAdmin


@admin.register(BotSession)
class BotSessionAdmin(_ModelAdmin):
    """Sessions can be found, looked at, changed and deleted; only bots make new ones."""

    list_display = ("key", "bot", "name", "title", "chat_type", "size", "updated_at", "expires_at")
    list_filter = ("bot", "chat_type")
    search_fields = ("key__startswith", "title__startswith")
    search_help_text = "The beginning of a session key or of a title."
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    fields = (
        *("bot", "name", "key", "title", "chat_type", "chat_id", "user_id"),
        *("data", "version", "size", "expires_at", "created_at", "updated_at", "revision"),
    )
    readonly_fields: ClassVar = [name for name in fields if name != "data"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: BotSession, form: ModelForm[BotSession], change: bool
    ) -> None:
        """Save the data under a new revision, so that no running handler writes over it."""
        obj.revision = new_revision()
        obj.size = len(dumps(obj.data).encode())
        obj.updated_at = utcnow()
        obj.save(update_fields=["data", "revision", "size", "updated_at"])
