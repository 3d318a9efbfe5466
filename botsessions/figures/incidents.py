"""How often something went wrong lately."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router
from django.db.models import Max, QuerySet, Sum

from ..exceptions import SessionVersionError
from ..models import AbstractBotSession, Incident
from ..records import Address

LATELY = timedelta(days=1)


@dataclass(frozen=True)
class IncidentFigures:
    """Incidents of a bot, of one kind, in the last day."""

    bot: str
    kind: str
    """One of ``Incident.Kind``, or one that only newer code knows."""
    count: int


def incidents_lately(now: datetime) -> list[IncidentFigures]:
    """Count the incidents of the last day, by bot and kind."""
    lately = incidents().filter(last_at__gte=now - LATELY).order_by("bot", "kind")
    counts = lately.values_list("bot", "kind").annotate(Sum("count"))
    return [IncidentFigures(bot, kind, count) for bot, kind, count in counts]


def incidents_of(session: AbstractBotSession) -> QuerySet[Incident]:
    """Return the incidents of a session."""
    return incidents().filter(key=session.key, bot=session.bot, name=session.name)


def last_refused(addresses: Collection[Address]) -> Iterator[tuple[Address, datetime]]:
    """Yield when code refused data of some sessions last, other than for too new a version."""
    if not addresses:
        return
    refused = incidents().filter(kind=Incident.Kind.DATA, key__in={one.key for one in addresses})
    by_this_code = refused.exclude(error=SessionVersionError.__name__).order_by()
    last = by_this_code.values_list("bot", "name", "key").annotate(Max("last_at"))
    for *of, at in last:
        if (address := Address(*of)) in addresses:
            yield address, at


def incidents() -> QuerySet[Incident]:
    """Return all, where they are read."""
    return Incident._default_manager.using(router.db_for_read(Incident))
