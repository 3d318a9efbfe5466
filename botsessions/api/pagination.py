"""Pages by primary key: each costs the same, and nothing is counted."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination


class SessionPagination(CursorPagination):
    """The newest sessions first."""

    ordering = "-pk"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000

    def decode_cursor(self, request: Any) -> Any:
        """Return the cursor of a request.

        Raises:
            NotFound: it is none of ours.
        """
        cursor = super().decode_cursor(request)
        position = None if cursor is None else cursor.position
        if position is not None and not str(position).isdecimal():
            raise NotFound(self.invalid_cursor_message)
        return cursor
