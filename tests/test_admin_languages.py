"""The admin in another language."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

import botsessions

from .sessions import LIST, make, url

pytestmark = pytest.mark.django_db


def test_the_admin_speaks_german(admin_client: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    now = timezone.now()
    row = make(updated_at=now - timedelta(days=3), expires_at=now + timedelta(hours=2))
    german = {"HTTP_ACCEPT_LANGUAGE": "de"}
    page = admin_client.get(LIST, **german).content.decode()
    for text in ("Läuft bald ab", "vor 3 Tagen", "Chat oder Benutzer", "Die genaue ID", "Suchen"):
        assert text in page
    page = admin_client.get("/admin/botsessions/", **german).content.decode()
    for text in ("Letzte Stunde", "Zuletzt aktiv", "Größte Sitzungen", "Letztes Aufräumen"):
        assert text in page
    page = admin_client.get(url("change", row), **german).content.decode()
    for text in ("Daten bearbeiten", "Auf Anfang zurücksetzen", "1 Feld", "Sitzungsschlüssel"):
        assert text in page


@pytest.mark.once
def test_the_catalogue_is_complete() -> None:
    folder = Path(botsessions.__file__).parent / "locale" / "de" / "LC_MESSAGES"
    texts = (folder / "django.po").read_text()
    assert "fuzzy" not in texts
    assert 'msgstr ""\n\n' not in texts
    assert (folder / "django.mo").exists()
