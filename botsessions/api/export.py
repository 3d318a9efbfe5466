"""Many sessions in one answer, a line of JSON each."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from ..downloads import MEDIA_TYPE, download


class JsonLines(JSONRenderer):
    """Lets clients ask for lines. An error is one object for those that accept nothing else."""

    media_type = MEDIA_TYPE
    format = "jsonl"


def export(request: Request, sessions: Any) -> StreamingHttpResponse:
    """Return an answer that reads the sessions while it is sent."""
    return download(request._request, sessions)
