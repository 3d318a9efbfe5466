"""Many sessions in one answer, a line of JSON each, without ever holding many in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from . import audit
from .due import comes_due
from .maintenance.exporting import in_parts, of_session
from .masking import masked_fields
from .records import dumps

MEDIA_TYPE = "application/x-ndjson"
EXPORTED = "Exported."
"""In the log."""


def download(request: HttpRequest, sessions: Any) -> StreamingHttpResponse:
    """Return an answer that reads the sessions while it is sent, masked fields as masks.

    The log is told who has taken them away.
    """
    parts = lines(sessions, getattr(request, "user", None))
    first = next(parts, "")  # What fails at once is an error, not half a file.
    parts = chain([first], parts)
    # Django would collect an ordinary iterator before an asynchronous server sends any of it.
    is_asgi = isinstance(request, ASGIRequest)
    response = StreamingHttpResponse(
        side_by_side(parts) if is_asgi else parts, content_type=MEDIA_TYPE
    )
    response["Content-Disposition"] = 'attachment; filename="sessions.jsonl"'
    return response


def lines(sessions: Any, user: Any) -> Iterator[str]:
    names = masked_fields()
    for part in in_parts(sessions):
        audit.log(user, part, audit.CHANGE, EXPORTED)
        yield "".join(f"{dumps(shown(of_session(session, names)))}\n" for session in part)


def shown(session: dict[str, Any]) -> dict[str, Any]:
    """Leave out what has expired; what is due is there still."""
    if not session["expired"] or comes_due(session["fragment"]):
        return session
    return {name: value for name, value in session.items() if name != "unreadable"} | {"data": None}


async def side_by_side(parts: Iterator[str]) -> AsyncIterator[str]:
    """Make each part in the thread of Django's sync code."""
    step: Any = sync_to_async(next)
    while part := await step(parts, ""):
        yield part
