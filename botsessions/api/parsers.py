"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from ..conf import max_bytes
from ..parsing import NotJson, parsed

ESCAPED = 6
"""So many bytes JSON takes at most for a byte of text: ``\\u0000``."""
ENVELOPE = 1024


class BodyTooLarge(APIException):
    """More than any session may hold."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The request is larger than any session may be (MAX_BYTES).")


class LimitedJSONParser(BaseParser):
    """JSON, no more of it than a session may hold.

    The framework's own parser is for bodies up to ``DATA_UPLOAD_MAX_MEMORY_SIZE``, and takes the
    last of two fields of one name.
    """

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body as Python data.

        Raises:
            ParseError: it is no JSON, or says something twice.
            BodyTooLarge: it is too long to be a session.
        """
        limit = max_bytes() * ESCAPED + ENVELOPE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge
        try:
            return parsed(body)
        except NotJson as exc:
            raise ParseError(str(exc)) from None
