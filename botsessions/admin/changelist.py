"""A page of the list, and how many there are, at a cost that does not grow with the table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext

from ..figures.numbers import grouped
from ..finding import found, is_bounded, search_parts
from ..models import BotSession
from ..paging import BY_KEY, Take, among, in_order, page, walk
from ..permissions import may
from .contents import note_failures
from .filters import BotFilter, SortFilter
from .hints import Hint, hint_of
from .plain import visible
from .ranges import RangeFilter
from .sorting import Sort, compared, first_of, in_index_order

COUNTED = 10_000
"""More rows than these are not counted one by one."""
SIGNS = {"": "=", "exact": "=", "gte": "≥", "lte": "≤", "gt": ">", "lt": "<"}
OLDER, NEWER, OLDEST = "older-", "newer-", "oldest"


class Count(int):
    """A number of sessions, as far as it is known.

    Args:
        pattern: how it is told, like ``"≈ {n}"``.
    """

    def __new__(cls, number: int, pattern: str = "{n}") -> Count:  # noqa: PYI034 (not in 3.10)
        return super().__new__(cls, number)

    def __init__(self, number: int, pattern: str = "{n}") -> None:
        self.is_exact = pattern == "{n}"
        self.text = pattern.format(n=grouped(number))

    def __str__(self) -> str:
        return self.text


class SessionChangeList(ChangeList):
    """Turns pages by primary key, and counts no more than it has to.

    Where an index finds the sessions in another order than that of the keys, the first
    :data:`.finding.LISTED` that it finds are those whose pages can be turned. Where no index knows
    what is looked for, pages show the newest of those that match; actions get all of them.
    """

    result_count: Count
    unbounded: QuerySet[Any]
    """All that match, those that the list has not looked at included."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        text, self.query = self.query, ""
        self.before_search = super().get_queryset(request, exclude_parameters).defer("data")
        self.query = text
        model_admin: Any = self.model_admin
        sessions: QuerySet[Any]
        sessions, _ = model_admin.get_search_results(request, self.before_search, text)
        return sessions

    def get_results(self, request: HttpRequest) -> None:
        turn = request.GET.get(PAGE_VAR, "")
        specs = self.filter_specs
        sort = next((one.sort for one in specs if isinstance(one, SortFilter)), None)
        hint: Hint | None = hint_of(specs)
        bounds = [one.bound for one in specs if isinstance(one, RangeFilter)]
        self.unbounded = self.queryset
        self.queryset = sessions = self.queryset.filter(*bounds)
        self.is_bounded = any(getattr(one, "is_bounded", False) for one in specs)
        if self.query.strip():
            hint = search_parts(self.query, self.model), []
            # PostgreSQL would take a search twice for a rare find.
            sessions = self.before_search.filter(*bounds)
            self.is_bounded = self.is_bounded or is_bounded(self.query, self.model)
        keys, self.incomplete = found(sessions, *hint) if hint else ([], False)
        self.is_sure = True
        if sort:
            self._sort(request, turn, sort, hint, keys)
        elif hint:
            self._show(request, turn, partial(among, keys))
            self.result_count = counted(keys, self.incomplete)
        else:
            order = order_of(specs)
            self._show(request, turn, partial(walk, self.queryset, order=order))
            whole = not self.newer and not self.older
            self.result_count = (
                Count(len(self.result_list)) if whole else count(self.queryset, order)
            )
        if self.is_bounded and self.result_count.is_exact:
            self.result_count = Count(self.result_count, gettext("at least {n}"))
        self.chips = list(chips(self))
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = None
        model_admin: Any = self.model_admin
        self.overview_url = model_admin.url("overview")
        self.activity_url = model_admin.url("activity")
        self.api_url = api_url(request)
        self.newest_url = self.get_query_string()
        self.newer_url = self.get_query_string({PAGE_VAR: self.newer})
        self.older_url = self.get_query_string({PAGE_VAR: self.older})
        self.oldest_url = self.get_query_string({PAGE_VAR: OLDEST})

    def _sort(
        self, request: HttpRequest, turn: str, sort: Sort, hint: Hint | None, keys: list[Any]
    ) -> None:
        """Show a page in an order.

        Args:
            keys: the primary keys of what was found by the hint.
        """
        narrowed, order = bool(self.queryset.query.where), order_of(self.filter_specs)
        if sort.by_index and (not narrowed or (hint and hint[1] == [f"-{sort.column}"])):
            first = in_index_order(self.queryset, sort)
        elif hint:
            first = compared(self.root_queryset, sort, keys, is_all=not self.incomplete)
        else:
            first = first_of(self.queryset, sort, order if narrowed else None)
        self.is_sure = first.is_sure
        self.incomplete = first.total is None or first.total > len(first.keys)
        self._show(request, turn, partial(in_order, first.keys))
        if first.total is not None:
            self.result_count = Count(first.total)
        elif hint:
            self.result_count = counted(keys, True)
        else:
            self.result_count = count(self.queryset, order)

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
        place = {key: n for n, key in enumerate(shown)}
        self.result_list = sorted(rows, key=lambda row: place[row.pk]) if shown else []
        note_failures(self.result_list)
        return None

    def _key(self, text: str) -> Any:
        try:
            return self.lookup_opts.pk.to_python(text)
        except ValidationError as exc:
            raise IncorrectLookupParameters from exc


def order_of(filters: list[Any]) -> tuple[str, ...]:
    """Return the order in which an index has the newest sessions first that are looked for."""
    return next((one.order for one in filters if isinstance(one, BotFilter)), BY_KEY)


def api_url(request: HttpRequest) -> str:
    """Return where those who may use the API read about it, if the project has that page."""
    if not may(request.user, BotSession, "view"):
        return ""
    try:
        return reverse("botsessions-api:docs")
    except NoReverseMatch:
        return ""


def chips(changelist: SessionChangeList) -> Iterator[tuple[str, str, str]]:
    """Yield what narrows the list: what it is called, its value, and the address without it."""
    seen = set[str]()
    for one in changelist.filter_specs:
        names = [name for name in one.expected_parameters() if name]
        seen |= {*names}
        if isinstance(one, RangeFilter):
            for label, value, of in one.chips():
                yield label, value, changelist.get_query_string(remove=of)
        elif any(name in changelist.params for name in names):
            chosen = [c["display"] for c in one.choices(changelist) if c.get("selected")]
            text = ", ".join(map(str, chosen))
            yield capfirst(str(one.title)), text, changelist.get_query_string(remove=names)
    labels = {field.name: field.verbose_name for field in changelist.lookup_opts.fields}
    for name, value in changelist.params.items():
        if name not in seen and name != SEARCH_VAR:
            column, _, how = name.partition("__")
            label = f"{capfirst(str(labels.get(column, column)))} {SIGNS.get(how, how)}"
            yield label.strip(), visible(value), changelist.get_query_string(remove=[name])


def counted(keys: list[Any], is_more: bool) -> Count:
    return Count(len(keys), gettext("more than {n}") if is_more else "{n}")


def count(sessions: QuerySet[Any], order: tuple[str, ...]) -> Count:
    """Return how many there are: exactly where they are few, otherwise as the database thinks."""
    if not sessions.query.where:
        estimated = estimate(sessions)
        if estimated > COUNTED:
            return Count(estimated, gettext("≈ {n}"))
    number = sessions.order_by(*order).values("pk")[: COUNTED + 1].count()
    if number > COUNTED:
        return Count(COUNTED, gettext("more than {n}"))
    return Count(number)


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
