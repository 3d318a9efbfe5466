"""What people may do with stored sessions, in the admin and over the API alike."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from botsessions.models import BotSession
from botsessions.permissions import PERMISSIONS, may

from .sessions import staff


@pytest.mark.django_db
def test_somebody_may_what_all_of_it_was_granted() -> None:
    user = staff("view", "change")
    assert [may(user, BotSession, action) for action in PERMISSIONS] == [
        action in ("view", "change") for action in PERMISSIONS
    ]
    assert may(user, BotSession, "view", "change")
    assert not may(user, BotSession, "view", "view_contents")


@pytest.mark.django_db
def test_a_superuser_may_everything_and_a_stranger_nothing() -> None:
    assert may(User(is_superuser=True, is_active=True), BotSession, *PERMISSIONS)
    assert not any(may(AnonymousUser(), BotSession, action) for action in PERMISSIONS)


@pytest.mark.django_db
def test_the_permissions_are_those_that_are_documented() -> None:
    found = Permission.objects.filter(content_type__model="botsession")
    names = {f"{name}_botsession" for name in PERMISSIONS}
    assert set(found.values_list("codename", flat=True)) == names
