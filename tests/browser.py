"""The demo site in Chromium, for tests and screenshots: a server and a browser of one's own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from .commands import TIMEOUT, manage, output

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
STARTED = re.compile(r"server at http://127\.0\.0\.1:(\d+)/")


class Site:
    """A demo site with a database of its own, on a port that the system chose."""

    def __init__(self, folder: Path, settings: str = "project.settings", sessions: int = 0) -> None:
        self.log = folder / "log"
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": settings,
            "DJANGO_DEBUG": "1",
            "BOTSESSIONS_DATABASE": "sqlite",
            "BOTSESSIONS_DATABASE_NAME": str(folder / "db.sqlite3"),
        }
        output(manage("migrate", "--verbosity=0", env=self.environment))
        output(manage("demo_setup", f"--sessions={sessions}", env=self.environment))
        self.port = "0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        address = f"127.0.0.1:{self.port}"
        with self.log.open("w") as log:
            self.process = manage(
                "runserver", "--noreload", address, env=self.environment, stdout=log
            )
        until = time.monotonic() + TIMEOUT
        while not (started := STARTED.search(self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        self.port = started[1]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert "Traceback" not in self.log.read_text()


def site_with(settings: str, sessions: int = 0) -> Any:
    """Return a fixture: such a site, for all tests of a module."""

    @pytest.fixture(scope="module")
    def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        site = Site(tmp_path_factory.mktemp("site"), settings, sessions)
        yield site
        site.stop()

    return site


def browser_of_module() -> Any:
    """Return a fixture: a browser for all tests of a module."""

    @pytest.fixture(scope="module")
    def browser() -> Iterator[Browser]:
        with chromium() as browser:
            yield browser

    return browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def log_in_as_admin(page: Page) -> None:
    """Log in on the page that asks for it, as the superuser that ``demo_setup`` has made."""
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.get_by_role("button", name="Log in").click()
