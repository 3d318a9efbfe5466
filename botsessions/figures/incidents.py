"""How often something went wrong lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router
from django.db.models import Sum

from ..models import Incident

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
    rows = Incident._default_manager.using(router.db_for_read(Incident))
    lately = rows.filter(last_at__gte=now - LATELY).order_by("bot", "kind")
    counts = lately.values_list("bot", "kind").annotate(Sum("count"))
    return [IncidentFigures(bot, kind, count) for bot, kind, count in counts]
