"""What type checkers make of the public annotations: rule F8."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
RIGHT = Path("tests", "typing", "pizza.py")
WRONG = Path("tests", "typing", "wrong.py")
EXPECTED = {
    number
    for number, line in enumerate((ROOT / WRONG).read_text().splitlines(), start=1)
    if line.endswith("# expect an error")
}

Errors = dict[int, list[str]]
"""What a type checker has to say, by line."""
Checker = Callable[[Path], Errors]


def mypy(file: Path) -> Errors:
    output = run("mypy", "--strict", "--no-pretty", "--no-error-summary", str(file))
    found = re.findall(rf"^{re.escape(str(file))}:(\d+): (.*)$", output, re.MULTILINE)
    assert len(found) == len(output.splitlines()), output
    return by_line((int(line), message) for line, message in found)


def pyright(file: Path) -> Errors:
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, str(file)))
    assert report["summary"]["filesAnalyzed"] == 1, report
    return by_line(
        (finding["range"]["start"]["line"] + 1, finding["message"])
        for finding in report["generalDiagnostics"]
    )


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_f8_a_right_bot_passes(checker: Checker) -> None:
    assert checker(RIGHT) == {}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_f8_every_mistake_is_found_and_nothing_else(checker: Checker) -> None:
    errors = checker(WRONG)
    assert set(errors) == EXPECTED, errors


def by_line(findings: Iterable[tuple[int, str]]) -> Errors:
    errors: Errors = {}
    for line, message in findings:
        errors.setdefault(line, []).append(message)
    return errors


def run(tool: str, *arguments: str) -> str:
    if importlib.util.find_spec(tool) is None and os.environ.get("CI") != "true":
        pytest.skip(f"{tool} is not installed")
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-m", tool, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout
