"""The admin of a table of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection, models
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import path

from botsessions import DatabaseStorage, session
from botsessions.admin import BotSessionAdmin
from botsessions.admin.incidents import sessions_url
from botsessions.admin.operations import Delete, Extend
from botsessions.figures import figures
from botsessions.models import AbstractBotSession, BotSession, Incident
from botsessions.permissions import PERMISSIONS

from .sessions import make, staff, url

pytestmark = pytest.mark.django_db(transaction=True)

site = AdminSite()
urlpatterns: list[Any] = []


@pytest.fixture
def model(settings: Any) -> Iterator[Any]:
    with isolate_apps("project"):

        class ShopSession(AbstractBotSession):
            country = models.CharField("country of the shop", max_length=2, default="IT")

            class Meta(AbstractBotSession.Meta):
                abstract = False
                app_label = "project"
                verbose_name_plural = "shop sessions"

        class ShopSessionAdmin(BotSessionAdmin):
            actions = (Extend(), Delete())
            list_display = (*BotSessionAdmin.list_display, "country")
            list_filter = (*BotSessionAdmin.list_filter, "country")

    with connection.schema_editor() as editor:
        editor.create_model(ShopSession)
    site.register(ShopSession, ShopSessionAdmin)
    urlpatterns[:] = [path("admin/", site.urls)]
    settings.ROOT_URLCONF = __name__
    yield ShopSession
    site.unregister(ShopSession)
    with connection.schema_editor() as editor:
        editor.delete_model(ShopSession)


def test_forget_user_names_sessions_of_tables_that_one_may_see_alone(
    model: Any, client: Client, settings: Any
) -> None:
    site.register(BotSession, BotSessionAdmin)
    urlpatterns[:] = [path("admin/", site.urls)]
    declared = session(storage=DatabaseStorage(model=model))
    other = {"SESSION": session(), "APPLICATION": print}
    bots = {"default": {"SESSION": declared, "APPLICATION": print}, "other": other}
    settings.BOTSESSIONS = {"BOTS": bots}
    row = make("5", bot="other", chat_id=5, title="mine")
    model.objects.create(bot="default", key="5", chat_id=5, data={}, title="of the shop")
    client.force_login(staff("view", "delete"))
    try:
        page = client.get(url("operation", row, "forget_user")).content.decode()
    finally:
        site.unregister(BotSession)
    assert "Forget user: 2 sessions" in page
    assert "mine" in page
    assert "of the shop" not in page
    assert "and 1 more" in page


def test_incidents_of_the_last_day_are_of_bots_whose_tables_one_may_see(
    model: Any, settings: Any
) -> None:
    declared = session(storage=DatabaseStorage(model=model))
    other = {"SESSION": session(), "APPLICATION": print}
    shop = {"SESSION": declared, "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"shop": shop, "other": other}}
    for bot in ("shop", "other", "gone"):
        Incident.objects.create(bot=bot, key="1", kind="save")
    assert [one.bot for one in figures(lambda one: one is model).incidents] == ["shop"]
    assert [one.bot for one in figures().incidents] == ["gone", "other", "shop"]


def test_incidents_lead_to_the_table_of_their_bot_if_one_may_see_it(
    model: Any, settings: Any, rf: Any
) -> None:
    shop = {"SESSION": session(storage=DatabaseStorage(model=model)), "APPLICATION": print}
    settings.BOTSESSIONS = {"BOTS": {"shop": shop}}
    incident = Incident(bot="shop", key="1", kind="save")
    request = rf.get("/")
    request.user = User.objects.create_superuser("boss")
    assert sessions_url(request, site, incident).startswith("/admin/project/shopsession/?bot=shop")
    request.user = staff("view")
    assert sessions_url(request, site, incident) == ""


def test_a_table_of_ones_own_has_all_pages_and_its_own_columns(model: Any, client: Client) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    row = model.objects.create(bot="default", key="42", chat_id=42, data={"pizza_count": 1})
    model.objects.create(bot="default", key="43", chat_id=43, data={}, country="DE")
    listed = "/admin/project/shopsession/"
    page = client.get(f"{listed}?country=IT").content.decode()
    assert 'field-country">IT<' in page
    assert 'field-country">DE<' not in page
    assert "Expire now" not in page
    page = client.get(f"{listed}{row.pk}/change/").content.decode()
    assert "Country of the shop" in page
    assert "pizza_count" in page
    edit = {"text": '{"pizza_count": 2}', "revision": row.revision}
    assert client.post(f"{listed}{row.pk}/edit/", edit).url == f"{listed}{row.pk}/change/"
    row.refresh_from_db()
    assert row.data == {"pizza_count": 2}
    delete = {"confirmed": "yes"}
    assert client.post(f"{listed}{row.pk}/action/delete_selected/", delete).url == listed
    assert model.objects.get().key == "43"


def test_its_permissions_are_its_own(model: Any) -> None:
    assert model._meta.default_permissions == PERMISSIONS
