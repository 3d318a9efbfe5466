"""The description of the REST API, and the page about it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_the_description_is_valid_and_without_warnings(staff: Client, capfd: Any) -> None:
    GENERATOR_STATS.reset()
    answer = staff.get("/api/schema/")
    description = yaml.safe_load(answer.content)
    validate_schema(description)
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    assert set(description["paths"]) == {
        "/api/sessions/",
        "/api/sessions/{id}/",
        "/api/sessions/{id}/expire/",
        "/api/sessions/{id}/extend/",
        "/api/sessions/export/",
    }


def test_every_parameter_that_is_taken_is_described(staff: Client) -> None:
    described = yaml.safe_load(staff.get("/api/schema/").content)["paths"]["/api/sessions/"]["get"]
    names = {parameter["name"] for parameter in described["parameters"]}
    (known,) = staff.get("/api/sessions/?x=1").json()["x"]
    assert names | {"format"} == set(known.rstrip(".").partition(": ")[2].split(", "))


def test_the_page_needs_nothing_from_another_host_and_no_inline_script(staff: Client) -> None:
    page = staff.get("/api/docs/", headers={"Accept": "text/html"}).content.decode()
    assert "/api/schema/?format=json" in page
    assert "http" not in page.replace('http-equiv="', "")
    assert "<script>" not in page


@pytest.mark.parametrize("path", ["schema/", "docs/", "sessions/", "sessions/export/"])
def test_nothing_is_open(client: Client, path: str) -> None:
    client.force_login(User.objects.create_user("maria"))
    assert client.get(f"/api/{path}", headers={"Accept": "*/*"}).status_code == 403
    client.logout()
    assert client.get(f"/api/{path}", headers={"Accept": "*/*"}).status_code in (401, 403)


def test_a_stranger_s_browser_is_led_to_the_login(client: Client) -> None:
    answer = client.get("/api/docs/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.headers["Location"] == "/admin/login/?next=/api/docs/"
