"""Many sessions in one answer, a line of JSON each."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from ..downloads import MEDIA_TYPE, download


class JsonLines(JSONRenderer):
    """Tells clients what they get; errors are one object."""

    media_type = MEDIA_TYPE
    format = "jsonl"


def export(request: Request, sessions: Any) -> StreamingHttpResponse:
    """Return an answer that reads the sessions while it is sent."""
    return download(request._request, sessions)
