"""The model of the table that sessions are stored in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
from django.db import connections
from django.db.models import IntegerField

from ..arguments import wrong

if TYPE_CHECKING:
    from ..models import AbstractBotSession


EXPECTED_MODEL = (
    "a subclass of AbstractBotSession with a table, or its label like 'shop.ShopSession'"
)


def check_database(alias: str) -> None:
    """Raise ImproperlyConfigured where the settings have no such database."""
    if alias not in connections.settings:
        known = ", ".join(map(repr, connections.settings))
        raise ImproperlyConfigured(f"settings.DATABASES has no {alias!r}; it has {known}.")


def sessions_model(model: object) -> type[AbstractBotSession]:
    """Return a model for sessions, which may be named by its label.

    Raises:
        ImproperlyConfigured: there is none of that name, its primary key is no number, or Django is
            not set up.
        TypeError: it is no model for sessions.
    """
    check_django()
    from ..models import AbstractBotSession  # noqa: PLC0415 (needs ready apps)

    found = model
    if isinstance(model, str):
        try:
            found = apps.get_model(model)
        except (LookupError, ValueError) as exc:
            problem = f"DatabaseStorage(model={model!r}): {exc}".rstrip(".")
            raise ImproperlyConfigured(f"{problem}. It must be {EXPECTED_MODEL}.") from exc
    if not isinstance(found, type) or not issubclass(found, AbstractBotSession):
        wrong("model", found, EXPECTED_MODEL)
    if found._meta.abstract:
        wrong("model", found, EXPECTED_MODEL)
    if not isinstance(found._meta.pk, IntegerField):
        raise ImproperlyConfigured(
            f"DatabaseStorage(model={found._meta.label!r}): its primary key must be a whole "
            "number, as that of BigAutoField is: history and lists go by it."
        )
    return found


def check_django() -> None:
    """Raise ImproperlyConfigured if Django is not set up, so there are no models."""
    try:
        apps.check_models_ready()
    except (AppRegistryNotReady, ImproperlyConfigured) as exc:
        raise ImproperlyConfigured(
            "Sessions in the database, and lock='database', need Django's models: call "
            "django.setup() before the bot runs, with DJANGO_SETTINGS_MODULE set, or after "
            "settings.configure(). FileStorage and MemoryStorage do without."
        ) from exc
