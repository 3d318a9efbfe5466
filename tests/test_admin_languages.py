"""The admin in another language."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def test_the_admin_speaks_spanish(admin_client: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "es"  # At the end, what is active is forgotten with it.
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    row = make(expires_at=timezone.now() + timedelta(hours=2))
    spanish = {"HTTP_ACCEPT_LANGUAGE": "es"}
    page = admin_client.get(f"{LIST}?sort=largest", **spanish).content.decode()
    for text in ("Caduca pronto", "Las mayores primero", "Chat o usuario", "Buscar"):
        assert text in page
    page = admin_client.get(url("change", row), **spanish).content.decode()
    for text in ("Editar datos", "Restablecer al inicio", "1 campo", "Clave de sesión"):
        assert text in page


def test_sessions_of_bots_are_called_the_same_on_every_page(
    admin_client: Client, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "de"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    make()
    page = admin_client.get("/admin/botsessions/", HTTP_ACCEPT_LANGUAGE="de").content.decode()
    assert "Sessions" not in page  # As Django's own catalogue has it, for those of browsers.
    assert "Sitzungen" in page


@pytest.mark.once
@pytest.mark.skipif(shutil.which("msgmerge") is None, reason="gettext is not installed.")
def test_the_catalogues_are_complete(tmp_path: Path) -> None:
    package = tmp_path / "botsessions"
    shutil.copytree(Path(botsessions.__file__).parent, package)
    languages = ["-l", "de", "-l", "es"]
    command = [sys.executable, "-m", "django", "makemessages", *languages, "--no-obsolete"]
    # The project's settings need not be importable there, nor are they asked for.
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(command, cwd=package, env=environment, check=True, capture_output=True)  # noqa: S603
    for language in ("de", "es"):
        texts = (package / "locale" / language / "LC_MESSAGES" / "django.po").read_text()
        missing = [
            entry
            for entry in texts.split("\n\n")[1:]
            if "#, fuzzy" in entry or entry.endswith('msgstr ""') or 'msgstr[0] ""' in entry
        ]
        assert missing == []
        assert (package / "locale" / language / "LC_MESSAGES" / "django.mo").exists()
