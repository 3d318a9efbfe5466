"""Databases for as long as a benchmark lasts.

As a program it makes one on the server that ``BOTSESSIONS_DATABASE`` names, prints which, and
removes it when its input ends.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.db import connection  # noqa: PLC0415 (once Django is set up)

    with database("benchmark"):
        answer = {
            "environment": environment(connection),
            "versions": {connection.display_name: version(connection)},
        }
        connection.close()
        print(json.dumps(answer), flush=True)
        sys.stdin.read()


@contextmanager
def database(purpose: str) -> Iterator[None]:
    """Make an empty database for as long as this lasts."""
    from django.db import connection, connections  # noqa: PLC0415

    before = connection.settings_dict["NAME"]
    with tempfile.TemporaryDirectory() as directory:
        name = f"{before}_{purpose}"
        if connection.vendor == "sqlite":
            name = str(Path(directory) / purpose)
        connection.settings_dict["TEST"]["NAME"] = name
        # Django 6.1 has deprecated "serialize", which is on by default before.
        never = {"serialize": False} if django.VERSION < (6, 1) else {}
        connection.creation.create_test_db(verbosity=0, autoclobber=True, **never)
        connections.close_all()
        try:
            yield
        finally:
            connection.creation.destroy_test_db(before, verbosity=0)


def environment(connection: Any) -> dict[str, str]:
    """Return what leads a program to the database, be it written for Django or not."""
    variables = {"BOTSESSIONS_DATABASE_NAME": str(connection.settings_dict["NAME"])}
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        info = connection.connection.info
        variables |= {
            "PGHOST": info.host,
            "PGPORT": str(info.port),
            "PGUSER": info.user,
            "PGPASSWORD": info.password,
            "PGDATABASE": info.dbname,
        }
    return {name: value for name, value in variables.items() if value}


def version(connection: Any) -> str:
    return ".".join(map(str, connection.get_database_version()))


if __name__ == "__main__":
    main()
