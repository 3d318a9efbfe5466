"""The REST API does what its description says, whatever it is sent."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given
from hypothesis import settings as run

from botsessions.models import BotSession

schemathesis = pytest.importorskip("schemathesis", reason="It is not for Python 3.10.")
from schemathesis.specs.openapi.checks import (  # noqa: E402 (if there is one)
    ignored_auth,
    positive_data_acceptance,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

LOGIN = {"Authorization": f"Basic {base64.b64encode(b'admin:admin').decode()}"}
OPERATIONS = [
    ("GET", ""),
    ("GET", "export/"),
    ("GET", "{id}/"),
    ("PATCH", "{id}/"),
    ("DELETE", "{id}/"),
    ("POST", "{id}/expire/"),
    ("POST", "{id}/extend/"),
]


@pytest.fixture
def description(settings: Any) -> Any:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # A fast one.
    User.objects.create_superuser("admin", password="admin")
    for n in range(3):
        BotSession.objects.create(bot="shop", key=str(n), data={"n": n})
    return schemathesis.openapi.from_wsgi(
        "/api/schema/?format=json", get_wsgi_application(), headers=LOGIN
    )


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_one_that_is_described(description: Any, method: str, path: str) -> None:
    operation = description[f"/api/sessions/{path}"][method]
    unfit = [ignored_auth]  # It takes our login for one of those that it makes up.
    if method != "GET":
        unfit.append(positive_data_acceptance)  # No schema says which ETag is the present one.

    @given(operation.as_strategy())
    @run(max_examples=100, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
    def whatever_it_is_sent(case: Any) -> None:
        case.call_and_validate(headers=LOGIN, excluded_checks=unfit)

    whatever_it_is_sent()


def test_every_operation_is_tried(description: Any) -> None:
    operations = [operation.ok() for operation in description.get_all_operations()]
    assert {(o.method.upper(), o.path) for o in operations} == {
        (method, f"/api/sessions/{path}") for method, path in OPERATIONS
    }
