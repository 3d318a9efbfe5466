"""Migrating as a task of commands."""

from __future__ import annotations

from typing import Any

from ..maintenance import Migrate, unlisted
from .report import Task


def migration(options: dict[str, Any]) -> Task:
    names = ("bot", "name", "batch_size", "dry_run")
    return Task(
        Migrate(**{name: options[name] for name in names}), "migrate", "migrated", "migratable"
    )


def not_migrated(options: dict[str, Any]) -> list[str]:
    """Return which declared sessions have migrations but are in no table."""
    return [
        f"bot '{bot}'{f', fragment {name!r}' if name else ''} "
        f"({type(storage).__name__} cannot list its sessions)"
        for bot, name, storage in unlisted()
        if options["bot"] in (None, bot) and options["name"] in (None, name)
    ]
