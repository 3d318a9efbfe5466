"""Forms that hold a large session: Django itself reads none of more than 2.5 MB."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from django.conf import settings
from django.http import HttpRequest, QueryDict

from .asked import number

ESCAPED = 6
"""So many bytes a form takes at most for one of its text: a line's end is ``%0D%0A``."""
ENVELOPE = 10_000
NAME = re.compile(rb'name="([^"]*)"')


class FormTooLarge(Exception):
    """A form is longer than its text may be."""


def is_large(request: HttpRequest) -> bool:
    """Whether Django would refuse to read a form."""
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = number(request.META.get("CONTENT_LENGTH")) or 0
    return request.method == "POST" and limit is not None and length > limit


def read_large(request: HttpRequest, most_bytes: int) -> None:
    """Read a form whose text may have so many bytes into ``request.POST``.

    Nobody may have asked for that before, so the view has to be exempt from the look at the CSRF
    token that comes before it, and have it looked at afterwards.

    Raises:
        FormTooLarge: it has more.
    """
    limit = most_bytes * ESCAPED + ENVELOPE
    body = request.read(limit + 1)
    if len(body) > limit:
        raise FormTooLarge
    form = QueryDict(mutable=True)
    for name, value in fields_of(request, body):
        form.appendlist(name, value)
    request.POST = form  # type: ignore[assignment]


def fields_of(request: HttpRequest, body: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a form without files, in whichever way it is written."""
    if request.content_type != "multipart/form-data":
        return parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    boundary = (request.content_params or {}).get("boundary", "").encode()
    fields = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if name := NAME.search(head):
            fields.append((name[1].decode(errors="replace"), content.decode(errors="replace")))
    return fields
