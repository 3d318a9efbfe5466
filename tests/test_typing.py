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

Errors = dict[Path, dict[int, list[str]]]
"""What a type checker has to say, by file and line."""


def mypy() -> Errors:
    output = run("mypy", "--strict", "--no-pretty", "--no-error-summary", str(RIGHT), str(WRONG))
    found = re.findall(r"^([^:\n]+):(\d+): (.*)$", output, re.MULTILINE)
    assert len(found) == len(output.splitlines()), output
    return by_place((Path(file), int(line), message) for file, line, message in found)


def pyright() -> Errors:
    output = run("pyright", "--outputjson", "--pythonpath", sys.executable, str(RIGHT), str(WRONG))
    report = json.loads(output)
    assert report["summary"]["filesAnalyzed"] == 2, report
    return by_place(
        (Path(one["file"]).relative_to(ROOT), one["range"]["start"]["line"] + 1, one["message"])
        for one in report["generalDiagnostics"]
    )


@pytest.fixture(scope="module", params=[mypy, pyright], ids=lambda checker: checker.__name__)
def errors(request: pytest.FixtureRequest) -> Errors:
    checker: Callable[[], Errors] = request.param
    return checker()


def test_f8_a_right_bot_passes(errors: Errors) -> None:
    assert errors[RIGHT] == {}


def test_f8_every_mistake_is_found_and_nothing_else(errors: Errors) -> None:
    assert set(errors[WRONG]) == EXPECTED, errors[WRONG]


def by_place(findings: Iterable[tuple[Path, int, str]]) -> Errors:
    errors: Errors = {RIGHT: {}, WRONG: {}}
    for file, line, message in findings:
        errors[file].setdefault(line, []).append(message)
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
