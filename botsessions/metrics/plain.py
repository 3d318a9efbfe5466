"""The figures as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..figures import Figures, Number, Run, TableFigures
from ..figures.table import FragmentFigures
from ..figures.webhooks import Said


def plain(figures: Figures, said: Mapping[str, Said | None]) -> dict[str, Any]:
    """Return what JSON can hold. Keys and titles of sessions are left out."""
    return {
        "at": figures.at,
        "tables": [table(one) for one in figures.tables],
        "runs": {work: run and of_run(run) for work, run in figures.runs.items()},
        "incidents": [
            {"bot": one.bot, "kind": one.kind, "count": one.count} for one in figures.incidents
        ],
        "overdue": {
            "sweep": figures.sweep_is_overdue,
            "migrate": figures.migration_is_overdue,
        },
        "webhooks": {alias: one and of_webhook(one) for alias, one in said.items()},
    }


def table(found: TableFigures) -> dict[str, Any]:
    return {
        "table": found.model._meta.db_table,
        "database": found.using,
        "looked_at": found.looked_at,
        "estimated": not found.is_whole,
        "expired": number(found.expired),
        "oldest_expired": found.oldest_expired,
        "fragments": [of_fragment(one) for one in found.fragments],
        "versions": [
            {
                "bot": one.bot,
                "fragment": one.name,
                "version": None if one.version is None else str(one.version),
                "age": one.age and one.age.value,
                "sessions": number(one.sessions),
            }
            for one in found.versions
        ],
        "days": [
            {"day": one.day, "created": number(one.created), "last_active": number(one.active)}
            for one in found.days
        ],
        "largest": [
            {"id": one.pk, "bot": one.bot, "fragment": one.name, "size": one.size}
            for one in found.largest
        ],
    }


def of_fragment(found: FragmentFigures) -> dict[str, Any]:
    return {
        "bot": found.bot,
        "fragment": found.name,
        "declared": found.declared,
        "sessions": number(found.total),
        **{state.value: number(count) for state, count in found.states.items()},
        "behind": number(found.behind),
        "newer": number(found.newer),
        "read": found.read,
        "unreadable": found.unreadable,
        "active": {f"{hours}h": number(count) for hours, count in found.active.items()},
    }


def number(found: Number) -> dict[str, Any]:
    bound = {} if found.below is None else {"below": found.below}
    return {"value": found.value, "exact": found.exact, **bound}


def of_run(run: Run) -> dict[str, Any]:
    names = ("only", "outcome", "reason", "started_at", "seconds", "done", "left")
    return {name: getattr(run, name) for name in names}


def of_webhook(said: Said) -> dict[str, Any]:
    if said.info is None:
        return {"at": said.at, "problem": said.problem}
    return {
        "at": said.at,
        "has_webhook": said.info.webhook is not None,
        "pending_updates": said.info.pending_updates,
        "last_error": said.info.last_error,
        "last_error_at": said.info.last_error_at,
    }
