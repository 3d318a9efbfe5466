"""How the free storage answers: its clients need JSON that says what is wrong, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt


class Refusal(Exception):
    """What a client did wrong. It will not ask again, unless the status is 401 or 500 and above."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers


def answering(*methods: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., Any]]:
    """Make a view of a function that may refuse, for requests that come from no browser."""

    def decorator(function: Callable[..., HttpResponse]) -> Callable[..., Any]:
        @csrf_exempt
        @login_not_required
        @never_cache
        @wraps(function)
        def view(request: HttpRequest, **kwargs: str) -> HttpResponse:
            try:
                if methods and request.method not in methods:
                    raise Refusal(405, "There is no such method here.", Allow=", ".join(methods))
                return function(request, **kwargs)
            except Refusal as refusal:
                return JsonResponse(
                    {"error": str(refusal)}, status=refusal.status, headers=refusal.headers
                )

        # By name, because a decorator is for one database only.
        for using in connections:
            non_atomic_requests(using)(view)
        return view

    return decorator
