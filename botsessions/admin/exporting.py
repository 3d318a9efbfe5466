"""Sessions as a file of JSON lines, however many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from ..finding import State, state_of
from ..maintenance.changing import batches_of_keys
from ..masking import mask, masked_fields
from .plain import plain

BATCH_SIZE = 200
"""Each session may have megabytes."""


def jsonl_response(sessions: QuerySet[Any]) -> StreamingHttpResponse:
    """Return the sessions that live, a line each, as a download."""
    response = StreamingHttpResponse(lines(sessions), content_type="application/jsonl")
    response["Content-Disposition"] = 'attachment; filename="sessions.jsonl"'
    return response


def lines(sessions: QuerySet[Any]) -> Iterator[str]:
    names = masked_fields()
    model = sessions.model
    for keys in batches_of_keys(sessions, BATCH_SIZE):
        rows = model._default_manager.using(sessions.db).filter(pk__in=keys).order_by("pk")
        for session in rows:
            if state_of(session) != State.EXPIRED:
                yield plain(json.dumps(exported(session, names), ensure_ascii=False)) + "\n"


def exported(session: Any, names: frozenset[str]) -> dict[str, Any]:
    moments = ("created_at", "updated_at", "expires_at")
    return {
        "bot": session.bot,
        "name": session.name,
        "key": session.key,
        "chat_id": session.chat_id,
        "user_id": session.user_id,
        "chat_type": session.chat_type,
        "title": session.title,
        "version": None if session.version is None else float(session.version),
        **{m: None if (at := getattr(session, m)) is None else at.isoformat() for m in moments},
        "data": mask(session.data, names),
    }
