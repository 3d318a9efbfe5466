"""Loading the sessions that pages show, and no more of them than somebody may see."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from ..history import with_maker
from ..models import AbstractBotSession
from ..reading import with_text
from .contents import JUDGED_BYTES
from .rights import SessionRights


class SessionLoading(SessionRights):
    """Sessions with their data, or without it."""

    def stored(
        self, request: HttpRequest, object_id: str, *, contents: bool = False
    ) -> AbstractBotSession | None:
        """Return a session, :func:`.with_text` if ``contents`` are asked for."""
        try:
            sessions = with_maker(self.get_queryset(request).filter(pk=unquote(object_id)))
        except (ValueError, ValidationError):
            return None
        session: AbstractBotSession | None
        session = (with_text(sessions) if contents else sessions.defer("data")).first()
        return session

    def judged(self, request: HttpRequest, sessions: QuerySet[Any]) -> QuerySet[Any]:
        """Have sessions loaded with what shows whether their bots can read them, if that may be."""
        if not self.has_view_contents_permission(request):
            return sessions.defer("data")
        return with_text(sessions, JUDGED_BYTES)
