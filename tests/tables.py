"""A database for bots that run in processes of their own."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.apps import apps
from django.db.utils import ConnectionHandler

from project.settings import DATABASE, KNOWN_DATABASES

from .servers import Server


class Tables:
    """The tables of the app, in a database of its own.

    Args:
        name: the database's.
        server: it is the only database of such a server.
    """

    def __init__(self, name: str, server: Server | None = None) -> None:
        known = copy.deepcopy(KNOWN_DATABASES[DATABASE])
        config = known | {"NAME": name} if server is None else server.database
        self.name = name
        self.connection = ConnectionHandler({"default": config})["default"]
        self._on_its_own = server is None and DATABASE != "sqlite"

    @contextmanager
    def made(self) -> Iterator[Tables]:
        """Make them for as long as this lasts."""
        try:
            self.create()
            yield self
        finally:
            self.drop()

    def create(self) -> None:
        if self._on_its_own:
            self._on_server(f"CREATE DATABASE {self.name}")
        with self.connection.schema_editor(atomic=False) as editor:
            for model in apps.get_app_config("botsessions").get_models():
                editor.create_model(model)

    def drop(self) -> None:
        self.connection.close()
        if self._on_its_own:
            self._on_server(f"DROP DATABASE {self.name}")

    def _on_server(self, statement: str) -> None:
        with self.connection._nodb_cursor() as cursor:
            cursor.execute(statement)

    def make_late(self) -> None:
        """Let what expires have expired long ago."""
        past = datetime(2026, 1, 1)  # noqa: DTZ001 (as all databases take it)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "UPDATE botsessions_botsession SET expires_at = %s WHERE expires_at IS NOT NULL",
                [past],
            )

    def texts(self, chat: int = 5, bot: str = "notes") -> list[str]:
        """Return what a bot has noted in a chat."""
        key = self.connection.ops.quote_name("key")
        query = f"SELECT data FROM botsessions_botsession WHERE bot = %s AND {key} = %s"  # noqa: S608
        with self.connection.cursor() as cursor:
            cursor.execute(query, [bot, str(chat)])
            row = cursor.fetchone()
        texts: list[str] = json.loads(row[0])["texts"] if row else []
        return texts
