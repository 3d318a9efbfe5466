"""A page of the list, and how many there are, at a cost that does not grow with the table."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import formats
from django.utils.translation import gettext

COUNTED = 10_000
"""More rows than these are not counted one by one."""
OLDER, NEWER, OLDEST = "older-", "newer-", "oldest"


class Count(int):
    """A number of sessions, as far as it is known.

    Args:
        pattern: how it is told, like ``"≈ {n}"``.
    """

    def __new__(cls, number: int, pattern: str = "{n}") -> Count:  # noqa: PYI034 (not in 3.10)
        return super().__new__(cls, number)

    def __init__(self, number: int, pattern: str = "{n}") -> None:
        self.text = pattern.format(n=formats.number_format(number, force_grouping=True))

    def __str__(self) -> str:
        return self.text


class SessionChangeList(ChangeList):
    """Turns pages by primary key, and counts no more than it has to."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return super().get_queryset(request, exclude_parameters).defer("data")

    def get_results(self, request: HttpRequest) -> None:
        rows, self.newer, self.older = self._page(request.GET.get(PAGE_VAR, ""))
        whole = not self.newer and not self.older
        self.result_list = rows
        self.result_count = Count(len(rows)) if whole else count(self.queryset)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = None
        self.newest_url = self.get_query_string()
        self.newer_url = self.get_query_string({PAGE_VAR: self.newer})
        self.older_url = self.get_query_string({PAGE_VAR: self.older})
        self.oldest_url = self.get_query_string({PAGE_VAR: OLDEST})

    def _page(self, turn: str) -> tuple[list[Any], str, str]:
        """Return the rows of a page, and how to turn to newer and to older ones, if there are."""
        size = self.list_per_page
        backwards = turn == OLDEST or turn.startswith(NEWER)
        if turn.startswith(NEWER):
            found = list(self._beyond("gt", turn.removeprefix(NEWER)).order_by("pk")[: size + 1])
        elif turn == OLDEST:
            found = list(self.queryset.order_by("pk")[: size + 1])
        elif turn.startswith(OLDER):
            found = list(self._beyond("lt", turn.removeprefix(OLDER)).order_by("-pk")[: size + 1])
        else:
            turn = ""
            found = list(self.queryset.order_by("-pk")[: size + 1])
        if turn and not found:  # Deleted meanwhile.
            return self._page("")
        rows = found[:size][::-1] if backwards else found[:size]
        goes_on = len(found) > size
        newer = goes_on if backwards else bool(turn)
        older = turn != OLDEST if backwards else goes_on
        return (
            rows,
            f"{NEWER}{rows[0].pk}" if newer else "",
            f"{OLDER}{rows[-1].pk}" if older else "",
        )

    def _beyond(self, side: str, key: str) -> QuerySet[Any]:
        try:
            key = self.lookup_opts.pk.to_python(key)
        except ValidationError as exc:
            raise IncorrectLookupParameters from exc
        beyond: QuerySet[Any] = self.queryset.filter(**{f"pk__{side}": key})
        return beyond


def count(sessions: QuerySet[Any]) -> Count:
    """Return how many there are: exactly where they are few, otherwise as the database thinks."""
    if not sessions.query.where:
        estimated = estimate(sessions)
        if estimated > COUNTED:
            return Count(estimated, gettext("≈ {n}"))
    counted = sessions.order_by().values("pk")[: COUNTED + 1].count()
    if counted > COUNTED:
        return Count(COUNTED, gettext("more than {n}"))
    return Count(counted)


def estimate(sessions: QuerySet[Any]) -> int:
    """Return how many rows the table has by the database's own statistics; 0 if it has none."""
    connection = connections[sessions.db]
    sql = {
        "postgresql": "SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)",
        "mysql": "SELECT table_rows FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = %s",
    }.get(connection.vendor)
    if sql is None:
        return 0
    table = sessions.model._meta.db_table
    name = connection.ops.quote_name(table) if connection.vendor == "postgresql" else table
    with connection.cursor() as cursor:
        cursor.execute(sql, [name])
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0
