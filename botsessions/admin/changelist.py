"""A page of the list, and how many there are, at a cost that does not grow with the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import formats
from django.utils.translation import gettext

from ..finding import State, found, hints
from ..paging import Take, among, page, walk
from .filters import StateFilter, VersionFilter

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
    """Turns pages by primary key, and counts no more than it has to.

    Where an index finds the sessions in another order than that of the keys, the first
    :data:`.finding.LISTED` that it finds are those whose pages can be turned.
    """

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return super().get_queryset(request, exclude_parameters).defer("data")

    def get_results(self, request: HttpRequest) -> None:
        turn = request.GET.get(PAGE_VAR, "")
        hint = hinted(self.query, self.params)
        keys, self.incomplete = found(self.queryset, *hint) if hint else ([], False)
        if hint:
            self._show(request, turn, partial(among, keys))
            pattern = gettext("more than {n}") if self.incomplete else "{n}"
            self.result_count = Count(len(keys), pattern)
        else:
            self._show(request, turn, partial(walk, self.queryset))
            whole = not self.newer and not self.older
            self.result_count = Count(len(self.result_list)) if whole else count(self.queryset)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = None
        model_admin: Any = self.model_admin
        self.overview_url = model_admin.url("overview")
        self.activity_url = model_admin.url("activity")
        self.api_url = api_url()
        self.newest_url = self.get_query_string()
        self.newer_url = self.get_query_string({PAGE_VAR: self.newer})
        self.older_url = self.get_query_string({PAGE_VAR: self.older})
        self.oldest_url = self.get_query_string({PAGE_VAR: OLDEST})

    def _show(self, request: HttpRequest, turn: str, take: Take) -> None:
        """Find the rows of a page, and how to turn to newer and to older ones, if there are."""
        backwards, beyond = turn == OLDEST or turn.startswith(NEWER), None
        if turn.startswith((NEWER, OLDER)):
            beyond = self._key(turn.partition("-")[2])
        shown, newer, older = page(take, backwards, beyond, self.list_per_page)
        if not shown and (backwards or beyond is not None):  # Deleted meanwhile.
            return self._show(request, "", take)
        self.newer = f"{NEWER}{shown[0]}" if newer else ""
        self.older = f"{OLDER}{shown[-1]}" if older else ""
        model_admin: Any = self.model_admin
        rows = model_admin.judged(request, self.root_queryset.filter(pk__in=shown))
        self.result_list = list(rows.order_by("-pk")) if shown else []
        return None

    def _key(self, text: str) -> Any:
        try:
            return self.lookup_opts.pk.to_python(text)
        except ValidationError as exc:
            raise IncorrectLookupParameters from exc


def api_url() -> str:
    """Return where people read about the API, if the project has that page."""
    try:
        return reverse("botsessions-api:docs")
    except NoReverseMatch:
        return ""


def hinted(query: str, params: Mapping[str, str]) -> tuple[list[Q], list[str]] | None:
    """Return the conditions that indexes answer one by one, and the order of those indexes."""
    if hint := hints(query, params.get(VersionFilter.parameter_name)):
        return hint
    if params.get(StateFilter.parameter_name) in (State.SOON, State.EXPIRED):
        return [Q()], ["-expires_at"]
    return None


def count(sessions: QuerySet[Any]) -> Count:
    """Return how many there are: exactly where they are few, otherwise as the database thinks."""
    if not sessions.query.where:
        estimated = estimate(sessions)
        if estimated > COUNTED:
            return Count(estimated, gettext("≈ {n}"))
    counted = sessions.order_by("-pk").values("pk")[: COUNTED + 1].count()
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
