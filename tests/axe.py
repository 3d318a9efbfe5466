"""axe-core, which looks for what people with disabilities cannot use. npm brings it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

VERSION = "4.10.3"


def script() -> str:
    """Return axe-core's source; skip the test where npm is missing, but fail in CI."""
    folder = Path(tempfile.gettempdir()) / f"botsessions-axe-core-{VERSION}"
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        problem = installed_into(folder)
        if problem and os.environ.get("CI") == "true":
            pytest.fail(problem)
        if problem:
            pytest.skip(problem)
    return source.read_text()


def installed_into(folder: Path) -> str:
    """Install it; return what went wrong."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed."
    command = [npm, "install", "--prefix", folder, "--no-save", f"axe-core@{VERSION}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return f"npm: {result.stderr}" if result.returncode else ""


def violations(page: Page, source: str) -> dict[tuple[str, str], Any]:
    """Return what axe finds on a page: by rule and element."""
    page.evaluate(source)  # Not a script element, which the page's policy would refuse.
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(all => all.violations)")
    return {
        (violation["id"], " ".join(map(str, node["target"]))): node["failureSummary"]
        for violation in found
        for node in violation["nodes"]
    }
