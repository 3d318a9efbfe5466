"""The overview: how many sessions there are of each kind, and whether all that serves them runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin import AdminSite, site
from django.contrib.admin.sites import all_sites
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from ..figures import Figures, TableFigures, figures
from ..figures.numbers import NONE, Number, grouped
from ..figures.table import FragmentFigures, VersionFigures
from ..figures.webhooks import telegram_says
from ..finding import SOON, Age, State
from ..models import AbstractBotSession
from . import columns
from .chart import Chart
from .filters import NO_NAME
from .incidents import counted
from .listed import lists, may_see
from .moments import relative
from .plain import visible
from .ranges import NO_VERSION
from .runs import last_run
from .webhooks import webhooks

if TYPE_CHECKING:
    from .operations import Operation

AT_ONCE = {Age.BEHIND: ("migrate", "expire"), Age.NEWER: ("expire",), None: ("expire",)}
"""What one may want to do to all sessions of a version."""
WINDOWS = {1: _("Last hour"), 24: _("Last day"), 7 * 24: _("Last week")}


class Cell(NamedTuple):
    """A number of sessions, and where they are listed."""

    label: str | Promise
    text: str
    url: str = ""
    note: str = ""
    is_bad: bool = False


class Links(NamedTuple):
    """Where sessions are listed; nowhere if this admin does not have them."""

    listed: str
    query: dict[str, str]
    """Which of them."""

    def cell(
        self,
        label: str | Promise,
        number: Number,
        narrower: dict[str, str],
        note: str = "",
        is_bad: bool = False,
    ) -> Cell:
        if number == NONE:
            return Cell(label, str(number), note=note)
        query = urlencode(self.query | narrower)
        address = f"{self.listed}?{query}" if self.listed else ""
        return Cell(label, str(number), address, note, is_bad)


class Row(NamedTuple):
    """A bot's fragment."""

    bot: str
    name: str
    declared: bool
    url: str
    cells: list[Cell]


class Version(NamedTuple):
    """The sessions of a fragment whose data has one version."""

    where: str
    version: str
    age: str
    sessions: Cell
    ways: list[Way]
    """What can be done to all of them that the code is not made for."""


class Way(NamedTuple):
    """What somebody may do to sessions, and where that is asked."""

    label: str
    url: str


class Large(NamedTuple):
    """One of the largest sessions."""

    whose: SafeString
    where: str
    size: SafeString
    url: str


class Table(NamedTuple):
    """A table of sessions."""

    name: str
    note: str
    rows: list[Row]
    charts: list[Chart]
    versions: list[Version]
    largest: list[Large]
    may_be_larger: bool


def overview_for(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows of the tables that somebody may see."""
    name = getattr(request, "current_app", site.name)
    here = next((s for s in (site, *all_sites) if s.name == name), site)
    found = figures(lambda model: may_see(request, here, model), partial(soon, here))
    if not found.tables:
        return {}
    at = found.tables[0].model
    is_one = len(found.tables) == 1
    listed = next(filter(None, (listing(request, here, one) for one in found.tables)), "")
    return {
        "search_url": listed,
        "warnings": list(warnings(found)),
        "tiles": list(tiles(found, Links(listed if is_one else "", {}))),
        "tables": [table(request, here, one, not is_one) for one in found.tables],
        "incidents": list(counted(request, here, found.incidents, found.at)),
        "runs": [last_run(work, run) for work, run in found.runs.items()],
        "webhooks": webhooks(telegram_says()),
        "webhooks_url": url(here, at, "webhooks") if here.is_registered(at) else "",
    }


def soon(here: AdminSite, model: type[AbstractBotSession]) -> timedelta:
    """Return how long before its end a session counts as expiring soon in the list."""
    model_admin = here.get_model_admin(model) if here.is_registered(model) else None
    return getattr(model_admin, "expires_soon", SOON)


def warnings(found: Figures) -> Iterator[str]:
    if found.sweep_is_overdue:
        oldest = min(table.oldest_expired for table in found.tables if table.oldest_expired)
        text = gettext("Sessions that expired {when} are still stored: let cron run {command}.")
        when = relative(oldest, found.at)
        yield text.format(when=when, command="manage.py sweep_sessions")
    if found.migration_is_overdue:
        text = gettext(
            "Sessions behind the code: {n}. For two days nobody has run {command}. The bot "
            "migrates each when it reads it."
        )
        yield text.format(n=found.behind, command="manage.py migrate_sessions")


def tiles(found: Figures, links: Links) -> Iterator[Cell]:
    fragments = [fragment for table in found.tables for fragment in table.fragments]
    yield links.cell(
        pgettext_lazy("of bots", "Sessions"),
        sum((fragment.total for fragment in fragments), NONE),
        {},
    )
    for hours, label in WINDOWS.items():
        active = sum((fragment.active[hours] for fragment in fragments), NONE)
        yield Cell(label, str(active), note=gettext("changed"))
    expired = sum((table.to_be_swept for table in found.tables), NONE)
    note = gettext("wait for a sweep")
    yield links.cell(_("Expired"), expired, {"state": "expired"}, note=note)
    note = gettext("wait for a migration")
    yield links.cell(_("Behind"), found.behind, {"version": "behind"}, note=note)


def table(request: HttpRequest, site: AdminSite, found: TableFigures, is_named: bool) -> Table:
    """Return what is shown of a table. Its sessions are linked if this admin has them."""
    listed = listing(request, site, found)
    operations = operations_of(request, site, found.model) if listed else {}
    return Table(
        f"{found.using}: {found.model._meta.db_table}" if is_named else "",
        "" if found.is_whole else estimated_from(found.looked_at),
        [row(fragment, listed) for fragment in found.fragments],
        [
            Chart("created", gettext("Created"), [(d.day, d.created) for d in found.days]),
            Chart("active", gettext("Last active"), [(d.day, d.active) for d in found.days]),
        ],
        [version(site, found.model, one, listed, operations) for one in found.versions],
        [large(site, session, bool(listed)) for session in found.largest],
        found.may_be_larger,
    )


def estimated_from(count: int) -> str:
    text = ngettext(
        "“≈”: estimated from {n} session, picked at random.",
        "“≈”: estimated from {n} sessions, picked at random.",
        count,
    )
    return text.format(n=grouped(count))


def listing(request: HttpRequest, site: AdminSite, found: TableFigures) -> str:
    """Return where sessions of a table are listed; nothing if this admin does not have them."""
    if not site.is_registered(found.model):
        return ""
    if not lists(site.get_model_admin(found.model), request, found.using):
        return ""
    return url(site, found.model, "changelist")


def url(site: AdminSite, model: type[AbstractBotSession], name: str, *arguments: Any) -> str:
    options = model._meta
    pattern = f"admin:{options.app_label}_{options.model_name}_{name}"
    return reverse(pattern, args=arguments, current_app=site.name)


def row(found: FragmentFigures, listed: str) -> Row:
    links = Links(listed, of_fragment(found.bot, found.name))
    tried = gettext("{n} of {tried}").format(n=found.unreadable, tried=found.read)
    cells = [
        links.cell(pgettext_lazy("of bots", "Sessions"), found.total, {}),
        *(links.cell(label_of(s), n, {"state": s.value}) for s, n in found.states.items()),
        links.cell(_("Behind"), found.behind, {"version": "behind"}),
        links.cell(_("Too new"), found.newer, {"version": "newer"}, is_bad=True),
        Cell(_("Unreadable"), tried if found.read else "–", is_bad=bool(found.unreadable)),
        *(Cell(WINDOWS[hours], str(number)) for hours, number in found.active.items()),
    ]
    return Row(visible(found.bot), visible(found.name), found.declared, cells[0].url, cells)


def of_fragment(bot: str, name: str) -> dict[str, str]:
    """Return what narrows the list to a fragment's sessions."""
    return {"bot": bot, "fragment": name or NO_NAME}


def label_of(state: State) -> Any:
    """Return the label of a column, which is that of all fragments."""
    return State.EXPIRED.label if state == State.DUE else state.label


def version(
    site: AdminSite,
    model: type[AbstractBotSession],
    found: VersionFigures,
    listed: str,
    operations: Mapping[str, Operation],
) -> Version:
    where = columns.where(found.bot, found.name)
    number = gettext("none") if found.version is None else str(found.version)
    exact = NO_VERSION if found.version is None else str(found.version)
    links = Links(listed, of_fragment(found.bot, found.name) | {"exact_version": exact})
    ways = [
        Way(
            f"{operations[name].short_description}…",
            f"{url(site, model, 'operation_on_all', name)}?{urlencode(links.query)}",
        )
        for name in AT_ONCE.get(found.age, ())
        if name in operations
    ]
    age = str(found.age.label) if found.age else ""
    return Version(where, number, age, links.cell(where, found.sessions, {}), ways)


def operations_of(
    request: HttpRequest, site: AdminSite, model: type[AbstractBotSession]
) -> dict[str, Operation]:
    """Return what somebody may do to sessions, by name."""
    operations = getattr(site.get_model_admin(model), "operations", None)
    return operations(request) if operations else {}


def large(site: AdminSite, session: AbstractBotSession, is_linked: bool) -> Large:
    page = url(site, type(session), "change", quote(session.pk)) if is_linked else ""
    return Large(columns.whose(session), columns.where_of(session), columns.size(session), page)
