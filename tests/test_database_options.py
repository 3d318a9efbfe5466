"""How our own connections are opened and set up: so that none of them waits for long."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError, connection, connections
from django.test import TransactionTestCase, override_settings

from botsessions.database.errors import Trouble, trouble_of
from botsessions.database.options import local, manner_of, options_of, our_connection
from botsessions.database.statements import PATIENT


class OurConnections(TransactionTestCase):
    def opened(self) -> Any:
        ours = our_connection("default")
        self.addCleanup(ours.close)
        return ours

    def test_only_ours_are_in_our_way(self) -> None:
        assert manner_of(connections["default"]) is None
        ours = self.opened()
        assert ours is not connections["default"]
        assert manner_of(ours) is not None

    def test_what_somebody_else_has_locked_is_not_waited_for(self) -> None:
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            self.skipTest("A database in memory has one connection.")
        ours, table = self.opened(), "botsessions_botsessionlease"
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (id, holder, ends_at, drawn, served, passed, held_since) "  # noqa: S608
                "VALUES (1, 0, 0, 0, 0, 0, 0)"
            )
            cursor.execute("BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "BEGIN")
            cursor.execute(f"UPDATE {table} SET holder = 1")  # noqa: S608
        with pytest.raises(DatabaseError) as caught, ours.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET holder = 2")  # noqa: S608
        assert trouble_of(caught.value) is Trouble.LOCKED
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")

    def test_options_of_the_settings_win(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("There is nobody to wait for.")
        options = {**connections.settings["default"].get("OPTIONS", {}), "connect_timeout": 3}
        with mock.patch.dict(connections.settings["default"], OPTIONS=options):
            ours = our_connection("default")
        assert ours.settings_dict["OPTIONS"]["connect_timeout"] == 3

    def test_no_server_is_waited_for_without_end(self) -> None:
        with override_settings(BOTSESSIONS={"RETRY_SECONDS": 0.2}):
            found = options_of(connections.create_connection("default"))
        if connection.vendor == "sqlite":
            assert found == {}
        else:
            assert found["connect_timeout"] == 10
        if connection.vendor == "mysql":  # It takes whole seconds, and 0 for none.
            assert found["read_timeout"] == found["write_timeout"] == 1
        if connection.vendor == "postgresql":
            assert found["tcp_user_timeout"] == 10_000


def test_what_is_set_for_a_transaction_goes_before_its_statement() -> None:
    assert local(PATIENT) == "SET LOCAL lock_timeout = 25; "
