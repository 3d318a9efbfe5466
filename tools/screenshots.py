"""Make the pictures that the documentation shows, in ``docs/images/``: all, or those named.

Each page in light, dark and on a phone, at twice the size, for sharp displays. Needs Chromium, and
pngquant to keep the files small.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, expect  # noqa: E402

from tests.browser import PHONE, Site, chromium, log_in_as_admin  # noqa: E402
from tests.commands import manage, output  # noqa: E402

Pages: TypeAlias = dict[str, Callable[[Page], None]]
"""By name, how to get there from the list."""

IMAGES = ROOT / "docs" / "images"
DESKTOP = {"viewport": {"width": 1400, "height": 800}, "device_scale_factor": 2}
LOOKS = {
    "light": {**DESKTOP, "color_scheme": "light"},
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light", "device_scale_factor": 2},
}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), "project.demo_settings")
        try:
            with chromium() as browser:
                for look, options in LOOKS.items():
                    shoot(browser, site.url, look, options, PAGES)
                    if is_wanted("demo"):
                        shoot_demo(browser, site.url, look, options)
                for command in (("demo_setup", "--sessions=5000"), ("sweep_sessions",)):
                    output(manage(*command, env=site.environment))
                for look, options in LOOKS.items():
                    shoot(browser, site.url, look, options, OF_MANY)
        finally:
            site.stop()
    files = sorted(
        str(path) for path in IMAGES.glob("*.png") if is_wanted(path.name.split("-")[-2])
    )
    subprocess.run(  # noqa: S603
        ["pngquant", "--force", "--skip-if-larger", "--ext", ".png", "--strip", *files],  # noqa: S607
        check=False,
    )


def is_wanted(name: str) -> bool:
    return not sys.argv[1:] or name in sys.argv[1:]


def shoot_demo(browser: Browser, url: str, look: str, options: dict[str, object]) -> None:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/?bot=orders")
    suggestions = page.get_by_role("group", name="Suggestions")
    for text, answer in (("/order", "Which pizza?"), ("Margherita", "where do you live?")):
        suggestions.get_by_role("button", name=text).click()
        said = page.get_by_role("log").get_by_role("listitem").last
        expect(said).to_contain_text(answer)
    page.evaluate("document.activeElement?.blur()")
    page.screenshot(path=IMAGES / f"demo-{look}.png", animations="disabled")
    context.close()


def shoot(browser: Browser, url: str, look: str, options: dict[str, object], pages: Pages) -> None:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())  # It would rather stay with what is edited.
    page.goto(f"{url}/admin/botsessions/botsession/")
    log_in_as_admin(page)
    for name, visit in pages.items():
        if not is_wanted(name):
            continue
        page.goto(f"{url}/admin/botsessions/botsession/")
        visit(page)
        page.evaluate("document.activeElement?.blur()")
        page.screenshot(path=IMAGES / f"admin-{name}-{look}.png", full_page=True)
    context.close()


def overview(page: Page) -> None:
    page.get_by_role("link", name="Overview").click()


def the_list(page: Page) -> None:
    """Show what one sees first."""


def session(page: Page) -> None:
    page.get_by_role("link", name="Maria Rossi").click()
    page.get_by_role("heading", name="Last changes").wait_for()


def opened(page: Page) -> None:
    session(page)
    page.get_by_role("link", name="Edit data").click()


def edit(page: Page) -> None:
    opened(page)
    field = page.get_by_label("Data, as JSON")
    field.fill(field.input_value().replace('"pizza_count": 7', '"pizza_count": "many"'))
    page.locator(".bs-check [data-line]").wait_for()
    field.evaluate("field => { field.scrollTop = 0; }")
    page.locator(".bs-gutter .bs-wrong").wait_for()


def conflict(page: Page) -> None:
    opened(page)
    field = page.get_by_label("Data, as JSON")
    mine = field.input_value()
    street = "Via Toledo 25" if "Via Roma" in mine else "Via Roma 1"
    theirs = re.sub('"street": "[^"]*"', f'"street": "{street}"', mine)
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_label("Data, as JSON").fill(theirs)
    other.get_by_role("button", name="Save").click()
    other.get_by_text("The data was saved.").wait_for()
    other.close()
    field.fill(mine.replace(street_of(mine), "Via Napoli 7").replace('"Diavola"', '"Capricciosa"'))
    page.get_by_role("button", name="Save").click()
    page.get_by_text("places that one has changed").or_(
        page.get_by_text("place that one has changed")
    ).click()


def reset(page: Page) -> None:
    session(page)
    page.get_by_text("Actions", exact=True).click()
    page.get_by_role("link", name="Reset to initial").click()
    page.get_by_role("heading", name="Before and after").wait_for()


def activity(page: Page) -> None:
    page.get_by_role("link", name="What people did").click()


def street_of(text: str) -> str:
    found = re.search('"street": "([^"]*)"', text)
    assert found is not None
    return found[1]


def versions(page: Page) -> None:
    session(page)
    page.get_by_role("link", name="Versions").click()


def incidents(page: Page) -> None:
    page.goto(page.url.replace("/botsession/", "/incident/"))


def confirm(page: Page) -> None:
    page.get_by_label("Select all objects on this page").check()
    page.locator("select[name=action]").select_option("Extend")
    page.get_by_role("button", name="Go").or_(page.get_by_role("button", name="Run")).click()


PAGES: Pages = {
    "list": the_list,
    "session": session,
    "edit": edit,
    "conflict": conflict,
    "confirm": confirm,
    "reset": reset,
    "activity": activity,
    "versions": versions,
    "incidents": incidents,
}
OF_MANY: Pages = {"overview": overview}
"""Those of as many sessions as ``make run`` makes up."""

if __name__ == "__main__":
    main()
