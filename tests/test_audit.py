"""Who did what to which sessions: names of fields, never values, nor ids of chats and users."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser
from django.utils.translation import override

from botsessions import audit
from botsessions.models import BotSession

from .sessions import make, staff

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["b"]),
        ({"a": 1}, {"a": 1, "b": None}, ["b"]),
        ({"a": 1, "b": 2}, {"b": 2}, ["a"]),
        ({"a": [1]}, {"a": [1]}, []),
        ({"42": 1}, {"42": 2}, []),  # A key that may be an id.
        ({"a": 1, "maria@example.org": 1}, {"a": 2, "maria@example.org": 2}, []),
        ([1], [2], []),
        ({"a": 1}, None, []),
        ({}, {f"f{number}": 1 for number in range(10)}, [f"f{number}" for number in range(10)]),
        ({}, {f"f{number}": 1 for number in range(11)}, []),
    ],
)
def test_fields_are_named_where_they_are_names_and_few(
    before: Any, after: Any, fields: list[str]
) -> None:
    assert audit.fields_changed(before, after) == fields
    named = [f"data.{name}" for name in fields] or ["data"]
    assert audit.changed_data(before, after) == [{"changed": {"fields": named}}]


def test_columns_are_named_in_the_language_that_django_keeps() -> None:
    with override("de"):
        found = audit.changed(BotSession, ["expires_at", "chat_id"])
    assert found == [{"changed": {"fields": ["Expires", "Chat id"]}}]


def test_each_session_has_an_entry_that_says_which_and_not_whose() -> None:
    user, sessions = staff("change"), [make(42, chat_id=42), make(43, bot="shop", name="user")]
    audit.log(user, sessions, audit.CHANGE, audit.changed(BotSession, ["title"]))
    entries = list(LogEntry.objects.order_by("pk"))
    assert [entry.object_id for entry in entries] == [str(session.pk) for session in sessions]
    assert [entry.object_repr for entry in entries] == [
        f"Session {sessions[0].pk} of default",
        f"Session {sessions[1].pk} of shop:user",
    ]
    assert {entry.user for entry in entries} == {user}
    assert entries[0].is_change()
    assert entries[0].get_change_message() == "Changed Title."


def test_of_many_their_number_is_noted() -> None:
    audit.log_count(staff("delete"), BotSession, 250, audit.DELETION, "Deleted.")
    entry = LogEntry.objects.get()
    assert entry.is_deletion()
    assert (entry.object_id, entry.object_repr) == (None, "250 sessions")


@pytest.mark.parametrize("user", [None, AnonymousUser(), "a machine"])
def test_who_is_no_user_is_not_noted(user: Any) -> None:
    audit.log(user, [make()], audit.CHANGE, "Changed.")
    assert not LogEntry.objects.exists()
