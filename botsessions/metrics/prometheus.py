"""The figures as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..figures import Figures
from ..figures.table import DayFigures, TableFigures
from ..figures.webhooks import Said

Said_by: TypeAlias = "Mapping[str, Said | None]"
Samples: TypeAlias = "Iterable[tuple[tuple[str, ...], float]]"

TABLE = ("database", "table")
WINDOWS = {1: "1h", 24: "1d", 7 * 24: "7d"}


def exposition(figures: Figures, said: Said_by, accepted: str) -> tuple[bytes, str]:
    """Return the text, and its type, of which there are some.

    Args:
        accepted: the header ``Accept`` of whoever asks.
    """
    try:
        encode, content_type = choose_encoder(accepted)
    except TypeError:  # It compares a version that is no number.
        encode, content_type = choose_encoder("")
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures, said))
    return encode(registry), content_type


class FiguresCollector(Collector):
    """Gives the registry the figures as gauges."""

    def __init__(self, figures: Figures, said: Said_by) -> None:
        self._figures = figures
        self._said = said

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a family for each figure."""
        yield from of_fragments(self._figures)
        yield from of_tables(self._figures)
        yield from of_runs(self._figures)
        yield of_incidents(self._figures)
        yield from of_webhooks(self._said)


def gauge(name: str, text: str, labels: Iterable[str], samples: Samples) -> GaugeMetricFamily:
    """Return a family; sessions of a fragment in several tables are added up."""
    family = GaugeMetricFamily(f"botsessions_{name}", text, labels=[*labels])
    sums: dict[tuple[str, ...], float] = {}
    for values, number in samples:
        sums[values] = sums.get(values, 0) + number
    for values, number in sums.items():
        family.add_metric([*values], number)
    return family


def since_1970(moment: datetime) -> float:
    """Return the seconds, also of a moment without a zone in the first year."""
    aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    return aware.timestamp()


def of_fragments(figures: Figures) -> Iterator[GaugeMetricFamily]:
    found = [fragment for table in figures.tables for fragment in table.fragments]
    place = ("bot", "fragment")

    def each(number: Callable[[Any], float]) -> Samples:
        return [((one.bot, one.name), number(one)) for one in found]

    yield gauge(
        "sessions",
        "Stored sessions by state; estimated where botsessions_estimated is 1.",
        (*place, "state"),
        [
            ((one.bot, one.name, state.value), count.value)
            for one in found
            for state, count in one.states.items()
        ],
    )
    yield gauge(
        "sessions_active",
        "Sessions that were changed within this time.",
        (*place, "window"),
        [
            ((one.bot, one.name, WINDOWS[hours]), count.value)
            for one in found
            for hours, count in one.active.items()
        ],
    )
    behind = each(lambda one: one.behind.value)
    yield gauge("sessions_behind", "Sessions of an older version than the code.", place, behind)
    newer = each(lambda one: one.newer.value)
    yield gauge("sessions_newer", "Sessions that the code refuses as too new.", place, newer)
    read = each(lambda one: one.read)
    yield gauge("sessions_read", "Sessions of which the data was tried.", place, read)
    bad = each(lambda one: one.unreadable)
    yield gauge("sessions_unreadable", "Of those, what the bot could not read.", place, bad)


def of_tables(figures: Figures) -> Iterator[GaugeMetricFamily]:
    def each(number: Callable[[Any], float | None]) -> Samples:
        found = ((table, number(table)) for table in figures.tables)
        return [(labels_of(t), n) for t, n in found if n is not None]

    estimated = each(lambda t: not t.is_whole)
    yield gauge("estimated", "Whether some sessions stand for all.", TABLE, estimated)
    yield gauge("expired", "Expired sessions that wait.", TABLE, each(lambda t: t.expired.value))
    oldest = each(lambda t: t.oldest_expired and since_1970(t.oldest_expired))
    yield gauge("oldest_expired_timestamp_seconds", "When the first expired.", TABLE, oldest)
    largest = each(lambda t: t.largest[0].size if t.largest else None)
    yield gauge("largest_session_bytes", "The size of the largest session.", TABLE, largest)
    yield gauge(
        "sessions_by_version",
        "Sessions by the version of their data.",
        ("bot", "fragment", "version"),
        [
            ((one.bot, one.name, "" if one.version is None else str(one.version)), n)
            for t in figures.tables
            for one in t.versions
            for n in [one.sessions.value]
        ],
    )
    created = days(figures, lambda day: day.created.value)
    yield gauge("sessions_created", "Sessions made on a day.", (*TABLE, "days_ago"), created)
    active = days(figures, lambda day: day.active.value)
    text = "Sessions changed last on a day."
    yield gauge("sessions_last_active", text, (*TABLE, "days_ago"), active)


def labels_of(table: TableFigures) -> tuple[str, ...]:
    return table.using, table.model._meta.db_table


def days(figures: Figures, number: Callable[[DayFigures], float]) -> Samples:
    return [
        ((*labels_of(table), str(ago)), number(day))
        for table in figures.tables
        for ago, day in enumerate(reversed(table.days))
    ]


def of_runs(figures: Figures) -> Iterator[GaugeMetricFamily]:
    runs = [((work,), run) for work, run in figures.runs.items() if run is not None]
    work = ("work",)
    overdue = {"sweep": figures.sweep_is_overdue, "migrate": figures.migration_is_overdue}
    started = [(label, since_1970(run.started_at)) for label, run in runs]
    yield gauge("run_timestamp_seconds", "When the last run began.", work, started)
    seconds = [(label, run.seconds) for label, run in runs]
    yield gauge("run_duration_seconds", "How long it took.", work, seconds)
    went_well = [(label, run.went_well) for label, run in runs]
    yield gauge("run_success", "Whether it went well.", work, went_well)
    done = [(label, run.done) for label, run in runs]
    yield gauge("run_sessions", "To how many sessions it was done.", work, done)
    left = [(label, run.left) for label, run in runs]
    yield gauge("run_left", "How many were left as they were.", work, left)
    late = [((name,), is_late) for name, is_late in overdue.items()]
    yield gauge("overdue", "Whether it should have been done.", work, late)


def of_incidents(figures: Figures) -> GaugeMetricFamily:
    found = [((one.bot, one.kind), one.count) for one in figures.incidents]
    return gauge("incidents", "What went wrong in the last day.", ("bot", "kind"), found)


def of_webhooks(said: Said_by) -> Iterator[GaugeMetricFamily]:
    found = {alias: one.info for alias, one in said.items() if one and one.info}
    bot = ("bot",)
    answered = [((alias,), alias in found) for alias in said]
    yield gauge("telegram_answers", "Whether Telegram says how the bot is.", bot, answered)
    pending = [((alias,), info.pending_updates) for alias, info in found.items()]
    yield gauge("pending_updates", "Updates that wait at Telegram.", bot, pending)
    errors = [
        ((alias,), since_1970(info.last_error_at))
        for alias, info in found.items()
        if info.last_error_at
    ]
    yield gauge("webhook_last_error_timestamp_seconds", "When one failed last.", bot, errors)
