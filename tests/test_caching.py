"""Nothing between the package and its clients keeps an answer: the site's own cache, say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from botsessions.models import BotSession
from project.settings import MIDDLEWARE

from . import everywhere
from .caches import LOCAL_MEMORY
from .sessions import make
from .sites import SECRET, TOKEN

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PARTS = {"name": "expire", "alias": "shop", "key": "1", "format": "json"}


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    """All of the package, behind the per-site cache."""
    settings.CACHES = LOCAL_MEMORY
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    settings.ROOT_URLCONF = everywhere.URLS
    bot = {"TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET, "FREE_STORAGE": True}
    settings.BOTSESSIONS = {"BOTS": {"shop": bot}}
    cache.clear()


def addresses(row: BotSession) -> dict[str, str]:
    return everywhere.addresses(**PARTS, object_id=row.pk, pk=row.pk)


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.mark.parametrize("who", ["stranger", "operator"])
def test_every_answer_says_that_nobody_may_keep_it(who: str, client: Client, request: Any) -> None:
    asking = request.getfixturevalue("operator") if who == "operator" else client
    for method in ("get", "options", "post", "patch", "delete"):
        for name, address in addresses(make(method)).items():
            answer = getattr(asking, method)(address)
            assert answer.status_code < 500, name
            refused = answer.status_code == 403  # That is none that caches keep.
            assert refused or "no-store" in answer.get("Cache-Control", ""), (name, method)


def test_a_bot_in_another_language_reads_what_it_has_written(client: Client) -> None:
    login = client.post("/free/login", json.dumps({"token": TOKEN}), "text/plain").json()
    headers = {"Authorization": f"Bearer {login['token']}"}

    def write(value: Any) -> None:
        body = json.dumps(value)
        client.post("/free/session/1", body, "text/plain", headers=headers)

    for value in (1, 2):
        write(value)
        assert client.get("/free/session/1", headers=headers).json() == value
        assert client.get("/free/sessions", headers=headers).json() == ["1"]


def test_the_api_answers_with_the_present_state(operator: Client) -> None:
    row = make("1", {"n": 1}, bot="shop")
    for revision in (5, 6):
        BotSession.objects.update(revision=revision, data={"n": revision})
        answer = operator.get(f"/api/sessions/{row.pk}/")
        assert (answer["ETag"], answer.json()["data"]) == (f'"{revision}"', {"n": revision})
        (listed,) = operator.get("/api/sessions/").json()["results"]
        assert listed["etag"] == f'"{revision}"'


def test_what_somebody_may_see_is_not_kept_for_a_stranger(operator: Client) -> None:
    for page in ("schema/", "docs/", "sessions/"):
        assert operator.get(f"/api/{page}", headers={"Accept": "*/*"}).status_code == 200
        assert Client().get(f"/api/{page}", headers={"Accept": "*/*"}).status_code in (401, 403)


def test_the_admin_shows_the_present_state(operator: Client) -> None:
    row = make("1", {"n": "before"}, bot="shop")
    places = addresses(row)
    for word in ("first", "second"):
        BotSession.objects.update(data={"n": word}, title=word)
        for page in ("changelist", "change", "edit", "data"):
            address = places[f"admin:botsessions_botsession_{page}"]
            assert word in operator.get(address).content.decode(), page
