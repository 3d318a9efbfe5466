"""The model of the table that sessions are stored in: what may be named, and what is said of it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from botsessions.database.model import check_database, sessions_model
from botsessions.models import AbstractBotSession, BotSession, BotSessionLease

pytestmark = pytest.mark.once


def test_a_model_may_be_given_or_named_by_its_label() -> None:
    for model in (BotSession, "botsessions.BotSession", "botsessions.botsession"):
        assert sessions_model(model) is BotSession


@pytest.mark.parametrize("label", ["BotSession", "shop.BotSession", "botsessions.Nothing", "a.b.c"])
def test_a_label_of_no_model_is_shown_with_what_it_must_be(label: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="a subclass of AbstractBotSession") as caught:
        sessions_model(label)
    assert f"DatabaseStorage(model={label!r})" in str(caught.value)


@pytest.mark.parametrize("model", [BotSessionLease, AbstractBotSession, BotSession(), 5, None])
def test_what_is_no_model_for_sessions_is_refused(model: object) -> None:
    with pytest.raises(TypeError, match="model must be a subclass of AbstractBotSession"):
        sessions_model(model)


def test_a_primary_key_that_is_no_number_is_refused() -> None:
    with isolate_apps("botsessions"):

        class ByUuid(AbstractBotSession):
            id = models.UUIDField(primary_key=True, default=uuid4)

            class Meta(AbstractBotSession.Meta):
                app_label = "botsessions"

    with pytest.raises(ImproperlyConfigured, match=r"botsessions\.ByUuid.*must be a whole number"):
        sessions_model(ByUuid)


def test_a_database_that_is_not_in_the_settings_is_named_beside_those_that_are() -> None:
    check_database("default")
    with pytest.raises(ImproperlyConfigured, match="has no 'nowhere'; it has 'default'"):
        check_database("nowhere")
