"""The demo site under a strict Content-Security-Policy."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from project.settings import *  # noqa: F403
from project.settings import BOTSESSIONS, MIDDLEWARE

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

MIDDLEWARE = [*MIDDLEWARE, "tests.strict_settings.with_policy"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # A fast one.
BOTSESSIONS = {**BOTSESSIONS, "MASKED_FIELDS": ["pin"]}


def with_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer
