"""Machines reach the package behind ``LoginRequiredMiddleware``: none of them can log in."""

from __future__ import annotations

import json
import pkgutil
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client

import botsessions
from project.settings import MIDDLEWARE

from . import everywhere
from .sites import SECRET, TOKEN

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PARTS = {"name": "expire", "alias": "shop", "key": "1", "format": "json", "object_id": 1, "pk": 1}


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    settings.ROOT_URLCONF = everywhere.URLS
    bot = {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET, "FREE_STORAGE": True}
    settings.BOTSESSIONS = {"BOTS": {"shop": bot}}


def for_machines() -> dict[str, str]:
    addresses = everywhere.addresses(**PARTS)
    return {name: address for name, address in addresses.items() if not name.startswith("admin:")}


def test_all_urls_of_the_package_are_walked_over() -> None:
    modules = pkgutil.walk_packages(botsessions.__path__, "botsessions.")
    of_package = {module.name for module in modules if module.name.endswith("urls")}
    included = [getattr(resolver, "urlconf_module", None) for resolver in everywhere.urlpatterns]
    assert of_package <= {getattr(module, "__name__", None) for module in included}


@pytest.mark.parametrize("method", ["get", "options", "post", "patch", "delete"])
def test_no_machine_is_sent_to_the_login_page(method: str, client: Client) -> None:
    addresses = for_machines() | {"free:unknown": "/free/nothing"}
    for name, address in addresses.items():
        answer = getattr(client, method)(address)
        assert not 300 <= answer.status_code < 400, name
        assert "Location" not in answer, name


def test_a_person_is(client: Client) -> None:
    answer = client.get("/admin/botsessions/botsession/")
    assert answer.status_code == HTTPStatus.FOUND


def test_telegram_and_bots_elsewhere_are_let_in_by_their_secrets(client: Client) -> None:
    secret = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    answer = client.post("/telegram/shop/", "no JSON", "application/json", headers=secret)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    login = client.post("/free/login", json.dumps({"token": TOKEN}), "text/plain")
    assert login.status_code == HTTPStatus.CREATED
