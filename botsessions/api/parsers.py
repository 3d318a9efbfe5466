"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

from ..bots import max_bytes

ESCAPED = 6
"""So many bytes JSON takes at most for a byte of text: ``\\u0000``."""
ENVELOPE = 1024


class BodyTooLarge(APIException):
    """More than any session may hold."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The request is larger than any session may be (MAX_BYTES).")


class LimitedJSONParser(JSONParser):
    """JSON, no more of it than a session may hold."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body as Python data.

        Raises:
            ParseError: it is no JSON.
            BodyTooLarge: it is too long to be a session.
        """
        limit = max_bytes() * ESCAPED + ENVELOPE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError(_("The JSON is nested too deeply.")) from None
