"""The admin: finding sessions, looking at them, mending them."""

from django.contrib import admin

from ..models import BotSession
from .sessions import BotSessionAdmin

__all__ = ["BotSessionAdmin"]

admin.site.register(BotSession, BotSessionAdmin)
