"""``manage.py check``: what is wrong with ``settings.BOTSESSIONS`` and what it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.db import connections

from ..conf import app_settings
from .databases import of_columns, of_database, of_packets, used_databases
from .declared import of_app


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check ``settings.BOTSESSIONS`` and what it names."""
    declared = getattr(settings, "BOTSESSIONS", {})
    return list(of_app(app_settings() if isinstance(declared, Mapping) else declared))


@register
def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the options that hurt a bot of the databases that it uses."""
    return [m for alias in sorted(used_databases()) for m in of_database(connections[alias])]


@register(Tags.database)
def check_mysql(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Look for what servers of MariaDB and MySQL cannot store."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "mysql":
            found += of_columns(connection)
            if alias in used_databases():
                found += of_packets(connection)
    return found
