"""Sessions as a file of JSON lines, however many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from ..finding import State, state_of
from ..maintenance.changing import batches_of_keys
from ..maintenance.people import of_session
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
                line = of_session(session)
                line["data"] = mask(line["data"], names)
                yield plain(json.dumps(line, ensure_ascii=False)) + "\n"
