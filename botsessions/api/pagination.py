"""Pages by the places of sessions in an order: each costs the same, and nothing is counted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.fields import IntegerField
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.response import Response

from ..database.sessions_rows import for_column, from_column
from ..finding import LISTED, NEWEST, State, found, hints, is_bounded
from ..maintenance.batches import with_keys
from ..paging import BY_BOT, BY_EXPIRY, BY_KEY, Take, among, page, walk, walk_by_expiry
from ..records import MAX_ID

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)


class SessionPagination(CursorPagination):
    """The newest sessions first; of those that expire soon or have expired, the last to do so."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any]:
        """Return the sessions of a page. Their keys are found first: indexes alone answer that.

        Raises:
            NotFound: the request's cursor is none of ours, or was made for another order.
        """
        self.base_url = request.build_absolute_uri()
        self.ordering = self.get_ordering(request, queryset, view)
        _offset, backwards, beyond = self.decode_cursor(request) or Cursor(0, False, None)
        by_expiry = self.ordering == BY_EXPIRY
        take: Take
        self.incomplete = False
        if hint := hinted(request, queryset):
            keys, self.incomplete = found(queryset, *hint)
            text = request.query_params.get("search", "")
            self.incomplete = self.incomplete or is_bounded(text, queryset.model)
            take = partial(among, keys)
        elif by_expiry:
            take = partial(walk_by_expiry, queryset)
        else:
            order = BY_BOT if request.query_params.get("bot") else BY_KEY
            take = partial(walk, queryset, order=order)
        size: Any = self.get_page_size(request)
        self.places, self.has_previous, self.has_next = page(take, backwards, beyond, size)
        self.display_page_controls = self.has_previous or self.has_next
        keys = [key for _at, key in self.places] if by_expiry else self.places
        return list(with_keys(queryset, keys).order_by(*self.ordering)) if keys else []

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        """Return the order in which indexes find what is asked for."""
        by_expiry = request.query_params.get("state") in (State.SOON, State.DUE, State.EXPIRED)
        return BY_EXPIRY if by_expiry and not hinted(request, queryset) else BY_KEY

    def get_page_size(self, request: Any) -> Any:
        """Return how many sessions a page is to have: the most that there may be, for more.

        Raises:
            ValidationError: that is no number of sessions.
        """
        name = self.page_size_query_param
        try:
            IntegerField(min_value=1).run_validation(request.query_params.get(name, self.page_size))
        except ValidationError as exc:
            raise ValidationError({name: exc.detail}) from None
        return super().get_page_size(request)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"]["minimum"] = 1
        return parameters

    def decode_cursor(self, request: Any) -> Any:
        """Return the cursor of a request, with the place that it names.

        Raises:
            NotFound: it is none of ours, or was made for another order.
        """
        cursor: Any = super().decode_cursor(request)
        if cursor is None or cursor.position is None:
            return cursor
        try:
            return cursor._replace(position=place_of(cursor.position, self.ordering))
        except (ValueError, OverflowError):
            raise NotFound(self.invalid_cursor_message) from None

    def get_next_link(self) -> str | None:
        return self._link(self.places[-1:], reverse=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(self.places[:1], reverse=True) if self.has_previous else None

    def get_paginated_response(self, data: Any) -> Response:
        """Return the answer, with whether it leaves sessions out."""
        response = super().get_paginated_response(data)
        response.data["incomplete"] = self.incomplete
        return response

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        described["properties"]["incomplete"] = {
            "type": "boolean",
            "description": f"Whether there may be others: more than the {LISTED:,} that are "
            f"listed, or older ones than the {NEWEST:,} in whose titles a search looks for words.",
        }
        described["required"] = list(described["properties"])
        return described

    def _link(self, places: list[Any], *, reverse: bool) -> str:
        """Return the way beyond a place, or from an end where all of a page has been deleted."""
        position: Any = text_of(places[0]) if places else None
        link: str = self.encode_cursor(Cursor(0, reverse, position))
        return link


def hinted(request: Any, queryset: Any) -> Any:
    """Return what :func:`found` needs where neither order is of use."""
    query = request.query_params
    return hints(query.get("search", ""), query.get("version"), queryset.model)


def text_of(place: Any) -> str:
    """Return a place in the order of the keys, or in that of the expiry, as a cursor has it."""
    if not isinstance(place, tuple):
        return str(place)
    expires_at: Any = from_column(place[0])
    return f"{(expires_at - EPOCH) // MICROSECOND},{place[1]}"


def place_of(text: str, ordering: Any) -> Any:
    """Return what :func:`text_of` was given.

    Raises:
        ValueError, OverflowError: it is no place in this order.
    """
    *moments, key = map(int, text.split(","))
    if len(moments) + 1 != len(ordering) or abs(key) > MAX_ID:
        raise ValueError
    return (for_column(EPOCH + moments[0] * MICROSECOND), key) if moments else key
