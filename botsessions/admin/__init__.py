"""The admin: finding sessions, looking at them, mending them."""

from django.contrib import admin

from ..models import BotSession, Incident
from .incidents import IncidentAdmin
from .sessions import BotSessionAdmin

__all__ = ["BotSessionAdmin", "IncidentAdmin"]

admin.site.register(BotSession, BotSessionAdmin)
admin.site.register(Incident, IncidentAdmin)
