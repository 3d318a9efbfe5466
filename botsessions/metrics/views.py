"""The figures over HTTP."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse

from ..figures import Figures
from ..figures.webhooks import telegram_says
from .access import for_those_who_may
from .plain import plain

PATIENCE_SECONDS = 2.0
"""So long an answer waits for what Telegram says."""


@for_those_who_may
def as_json(request: HttpRequest, figures: Figures) -> HttpResponse:
    return JsonResponse(plain(figures, telegram_says(PATIENCE_SECONDS)))


@for_those_who_may
def as_prometheus(request: HttpRequest, figures: Figures) -> HttpResponse:
    try:
        from .prometheus import exposition  # noqa: PLC0415 (who wants JSON does not need it)
    except ImportError as exc:
        raise ImproperlyConfigured(
            "Metrics for Prometheus need prometheus-client: "
            "pip install 'django-botsessions[metrics]'."
        ) from exc
    accepted = request.headers.get("Accept", "")
    text, content_type = exposition(figures, telegram_says(PATIENCE_SECONDS), accepted)
    return HttpResponse(text, content_type=content_type)
