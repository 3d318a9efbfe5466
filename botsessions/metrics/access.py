"""Who may have the figures: whoever knows the token, or may see sessions in the admin."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeAlias

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..conf import metrics_token
from ..figures import Figures, figures
from ..permissions import may

View: TypeAlias = "Callable[[HttpRequest], HttpResponse]"
Answer: TypeAlias = "Callable[[HttpRequest, Figures], HttpResponse]"

SCHEME = "bearer"


def for_those_who_may(answer: Answer) -> View:
    """Return a view that answers them with the figures of what they may see."""

    @login_not_required
    @never_cache
    @require_safe
    @wraps(answer)
    def view(request: HttpRequest) -> HttpResponse:
        user: Any = getattr(request, "user", None)
        if knows_token(request):
            return answer(request, figures())
        found = figures(lambda model: may(user, model, "view")) if user is not None else None
        if found is not None and found.tables:
            return answer(request, found)
        if user is not None and user.is_authenticated:
            return HttpResponse(status=HTTPStatus.FORBIDDEN)
        challenge = {"WWW-Authenticate": "Bearer"}
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED, headers=challenge)

    return view


def knows_token(request: HttpRequest) -> bool:
    """Whether a request brings the token. How long it takes to tell says nothing of it."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = metrics_token()
    return bool(token) and scheme.lower() == SCHEME and token == given.strip()
